"""The image set of a trial: read from files, decoded once into a cache, and split by scenes."""
