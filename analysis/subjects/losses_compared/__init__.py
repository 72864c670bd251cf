"""The losses of a search at equal effort, overall and class by class."""
