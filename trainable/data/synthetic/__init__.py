"""Image sets that are made: seeded aerial-like scenes with the class shares of AeroScapes."""
