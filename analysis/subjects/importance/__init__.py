"""Which hyperparameters the objective depends on."""
