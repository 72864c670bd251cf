"""The command line of aerosweep; the work is done by the packages `search`, `trainable` and `analysis`."""
