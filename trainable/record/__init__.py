"""What a trial leaves behind: names of metrics and tags, record files, checkpoints, and where they are stored."""
