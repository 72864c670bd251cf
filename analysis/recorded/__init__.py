"""A recorded search, read out of MLflow, and its trials, confirmation and predictions."""
