"""How image sets lie on disk: AeroScapes as published, and any set that a data-set YAML describes."""
