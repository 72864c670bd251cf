"""Which two configurations are compared, and what the first screen says of them."""
