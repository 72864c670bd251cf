"""The best of n trials, expected: losses that were tried unequally often, compared at equal effort.

The best of many trials beats the best of few by luck alone. So n trials of a loss are drawn with replacement, and the
best by the objective is kept, as a search keeps one trial of many. With N trials in the order of their objective, the
i-th is kept with probability (i/N)^n - ((i-1)/N)^n (Dodge et al. 2019, Show your work: improved reporting of
experimental results); trials of equal objective share theirs evenly. Its other scores are those of that trial: the best
of each class apart would be of a network that no trial trained.

The formula takes trials as independent draws of one search distribution. TPE's are not: later ones are proposed near
earlier good ones, most of all for the losses that do well; and a pruned trial has the best value until it was stopped.
Read what comes of it as the effort that each loss got and what it brought, not as a test.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

EXPECTED_COLUMNS: Final = ["metric", "loss", "trials", "n_equal", "expected_best", "expected_best_std"]


def chances_of_best(objectives: ArrayLike, n: int) -> NDArray[np.float64]:
    """Compute the probability of each trial to be the best of n drawn with replacement.

    Args:
        objectives: Of a loss's trials, finite, at least one, (N,); higher is better.
        n: Draws, at least 1.

    Returns:
        (N,), of sum 1, in the order given; equal trials have equal probabilities.

    Raises:
        ValueError: If there is no objective, one is not finite, or n is below 1.
    """
    values = np.asarray(objectives, dtype=np.float64)
    if n < 1 or values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(
            f"the best of n needs n >= 1 and finite objectives; got n = {n} and {values.size} objectives. Leave out "
            "trials that have none."
        )
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    of_equals = (not_above / values.size) ** n - (below / values.size) ** n
    chances: NDArray[np.float64] = of_equals / (not_above - below)
    return chances


def expected_at_best(objectives: ArrayLike, values: ArrayLike, n: int) -> tuple[float, float]:
    """Compute the mean and the standard deviation of a score of the trial that is the best of n by its objective.

    Args:
        objectives: Of a loss's trials, finite, (N,); higher is better.
        values: The score of each, finite, (N,).
        n: Draws with replacement, at least 1.

    Raises:
        ValueError: See `chances_of_best`.
    """
    chances = chances_of_best(objectives, n)
    scores = np.asarray(values, dtype=np.float64)
    mean = float(chances @ scores)
    return mean, math.sqrt(float(chances @ (scores - mean) ** 2))


def tabulate_expected(trials: pd.DataFrame, metrics: Sequence[str], objective: str = "objective") -> pd.DataFrame:
    """Tabulate what the best of equally many trials of each loss is expected to score.

    Args:
        trials: Of equal length, a row each with the columns loss, the objective and the metrics; a trial without one
            (NaN) is left out of it.
        metrics: Columns of scores.
        objective: Column that the best is chosen by.

    Returns:
        A row for each metric and loss, in order of appearance, with the columns metric, loss, trials (that have it),
        n_equal (the least number of trials of a loss that has any), expected_best and expected_best_std. NaN where a
        loss has no trial; the standard deviation of a single trial is NaN too.
    """
    losses = trials["loss"].drop_duplicates().tolist()
    rows: list[list[object]] = []
    for metric in metrics:
        known = trials[trials[metric].notna() & trials[objective].notna()]
        counts = known["loss"].value_counts()
        n_equal = int(counts.min()) if len(counts) else 0
        for loss in losses:
            of_loss = known[known["loss"] == loss]
            mean, std = _expected(of_loss[objective].to_numpy(), of_loss[metric].to_numpy(), n_equal)
            rows.append([metric, loss, len(of_loss), n_equal, mean, std])
    return pd.DataFrame(rows, columns=EXPECTED_COLUMNS)


def _expected(objectives: NDArray[np.float64], values: NDArray[np.float64], n: int) -> tuple[float, float]:
    if not len(values):
        return math.nan, math.nan
    mean, std = expected_at_best(objectives, values, n)
    return mean, std if len(values) > 1 else math.nan
