"""One trial, and the model that comes of it: config, data, network, loss, training loop, measurement and record."""
