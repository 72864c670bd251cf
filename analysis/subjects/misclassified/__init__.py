"""Where misclassified pixels go."""
