"""Many trials: search config, space, sampler, scheduler, launch, projections and leaderboard."""
