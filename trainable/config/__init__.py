"""A trial's settings as words: the sections of its config, and the names that they may hold; nothing imports torch."""
