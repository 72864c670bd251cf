"""Where in the image things lie."""
