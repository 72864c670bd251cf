"""Confusion matrices, and the difference of two."""
