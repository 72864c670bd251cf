"""What the analysis shows: a folder a subject, with its table, its figure and its plate."""
