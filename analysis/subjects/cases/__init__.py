"""Dev images chosen by rule, with their true and predicted labels."""
