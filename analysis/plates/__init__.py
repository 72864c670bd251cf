"""Plates: a figure with its caption, its numbers and its text for those who cannot see it."""
