"""What a terminal shows: the view of a running search, and tables of what came of it."""
