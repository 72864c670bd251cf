"""Images that stand for their image set."""
