"""How unequal the classes of an image set are."""
