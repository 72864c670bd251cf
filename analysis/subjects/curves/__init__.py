"""Training curves: of one trial, of its classes, and of a search's losses."""
