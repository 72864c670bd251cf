"""What is searched: the space, how it is parsed, and the points that are tried first."""
