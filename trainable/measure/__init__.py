"""What a network does on a split: its predictions, counts of pixels and objects, and the metrics made of them."""
