"""The learning rate over a trial: a linear warm-up, then half a cosine down to zero."""

import math


def learning_rate_factor(step: int, warmup_steps: float, total_steps: int) -> float:
    """Share of the peak learning rate at a step, in 0..1.

    The cosine is that of Loshchilov & Hutter 2017, "SGDR", without restarts.

    Args:
        step: The step about to be taken, from 0.
        warmup_steps: Length of the warm-up; the step after it has the peak.
        total_steps: Steps of the whole trial.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1.0, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
