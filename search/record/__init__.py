"""A search's own part of the record: what its folder says of it, and who drives it."""
