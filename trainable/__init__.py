"""One trial: its config, data, model, loss, counts, training loop, checkpoint and record."""
