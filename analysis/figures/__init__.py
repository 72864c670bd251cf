"""Figures: they draw what they are given; every number is computed elsewhere."""
