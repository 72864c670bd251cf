"""Numbers, gains and configurations as text."""
