"""The networks: built, compiled, and loaded again from a record."""
