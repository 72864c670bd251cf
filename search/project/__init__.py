"""What is made of the record, and could be made again: MLflow, the Optuna journal, the leaderboard, kept weights."""
