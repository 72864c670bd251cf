"""Scores scene by scene, and which scenes a gain comes from."""
