"""The user's YAML and `--set`, read and checked before anything starts."""
