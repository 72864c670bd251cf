"""The best of n trials, expected: groups that were tried unequally often, compared at equal effort.

The best of many trials beats the best of few by luck alone. Dodge et al. (2019, Show your work: improved reporting of
experimental results) draw n of a group's N values with replacement: E[best of n] = sum v_(i) ((i/N)^n - ((i-1)/N)^n).

The formula takes trials as independent draws of one search distribution. TPE's are not: later ones are proposed near
earlier good ones, most of all in the groups that do well; and a pruned trial has the best value until it was stopped.
Read the table as the effort that each group got and what it brought, not as a test.
"""

import math
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

COLUMNS: Final = ["group", "trials", "pruned", "hours", "best", "n_equal", "expected_best", "expected_best_std"]


def expected_best(values: ArrayLike, n: int, *, minimised: bool = False) -> tuple[float, float]:
    """Compute the mean and the standard deviation of the best of n values drawn with replacement.

    Args:
        values: Of a group's trials, finite, at least one.
        n: Draws, at least 1.
        minimised: Whether the best is the lowest.

    Raises:
        ValueError: If there is no value, one is not finite, or n is below 1.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if n < 1 or ordered.ndim != 1 or ordered.size == 0 or not np.isfinite(ordered).all():
        raise ValueError(
            f"the best of n needs n >= 1 and finite values; got n = {n} and {ordered.size} values. Leave out trials "
            "that have none."
        )
    if minimised:
        ordered = ordered[::-1]
    ranks = np.arange(ordered.size + 1) / ordered.size
    chances = np.diff(ranks**n)
    mean = float(chances @ ordered)
    return mean, math.sqrt(float(chances @ (ordered - mean) ** 2))


def tabulate_expected_best(trials: pd.DataFrame, *, minimised: bool = False) -> pd.DataFrame:
    """Tabulate each group's effort, and its best at the effort of the group that had least.

    Args:
        trials: A row for each trial with the columns group, objective (its best; NaN for a trial that failed), pruned
            (bool), hours.
        minimised: Whether lower objectives are better.

    Returns:
        A row for each group, in order of appearance, with the columns group, trials (those with an objective), pruned,
        hours (of all), best, n_equal (the least number of trials of a group that has any), expected_best of n_equal
        trials and its expected_best_std. NaN where no trial has an objective.
    """
    groups = [(group, rows) for group, rows in trials.groupby("group", sort=False, dropna=False)]
    counts = [int(rows["objective"].notna().sum()) for _, rows in groups]
    n_equal = min((count for count in counts if count), default=0)
    rows = [
        [group, count, int(rows["pruned"].sum()), float(rows["hours"].sum()), *_best(rows, n_equal, minimised)]
        for (group, rows), count in zip(groups, counts, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _best(rows: pd.DataFrame, n_equal: int, minimised: bool) -> tuple[float, int, float, float]:
    values = rows["objective"].dropna().to_numpy(dtype=np.float64)
    if not values.size:
        return math.nan, n_equal, math.nan, math.nan
    best = values.min() if minimised else values.max()
    return float(best), n_equal, *expected_best(values, n_equal, minimised=minimised)
