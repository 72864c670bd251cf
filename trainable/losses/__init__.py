"""The losses, what they share, and how a config's loss is made."""
