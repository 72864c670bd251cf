"""Statistics, pure: counts and scores by scene, intervals, and the claims that they support."""
