"""A launch: checks, a Ray session, and Tune's hooks, while machines come and go."""
