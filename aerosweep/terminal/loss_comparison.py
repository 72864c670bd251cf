"""The losses of a search at equal effort: a comparison is biased by how many trials each got."""

import math
from collections.abc import Sequence

import pandas as pd
from rich.table import Table
from rich.text import Text

from aerosweep.terminal.text_table import text_table
from analysis.evidence.expected_best import tabulate_expected
from search.project.leaderboard import minutes_trained
from trainable.record.record_types import TrialSnapshot
from trainable.record.trial_words import loss_name


def effort_by_loss(trials: Sequence[TrialSnapshot]) -> pd.DataFrame:
    """What each loss got and what it brought, the most expected first.

    Args:
        trials: Of a search; those that have not ended are passed over.

    Returns:
        The columns of `analysis.evidence.expected_best.tabulate_expected`, pruned (how many), hours (of all) and best.
    """
    ended = [trial for trial in trials if trial.end is not None]
    frame = pd.DataFrame(
        {
            "loss": [loss_name(trial.spec.config) for trial in ended],
            "objective": [_objective(trial) for trial in ended],
            "pruned": [trial.state == "pruned" for trial in ended],
            "hours": [(minutes_trained(trial) or 0.0) / 60 for trial in ended],
        }
    )
    effort = frame.groupby("loss").agg(pruned=("pruned", "sum"), hours=("hours", "sum"), best=("objective", "max"))
    table = tabulate_expected(frame, ["objective"])
    for name, column in effort.items():
        table[name] = table["loss"].map(column)
    return table.sort_values("expected_best", ascending=False, kind="stable")


def _objective(trial: TrialSnapshot) -> float:
    """Its best; a diverged trial came to nothing, which counts, and a failed one says nothing of its loss."""
    if trial.state == "diverged":
        return 0.0
    return math.nan if trial.state == "failed" or trial.objective is None else trial.objective


def loss_table(trials: Sequence[TrialSnapshot]) -> Table | None:
    """The losses for a terminal, or None where there is nothing to compare."""
    frame = effort_by_loss(trials)
    if len(frame) < 2 or frame["n_equal"].iloc[0] == 0:
        return None
    n = int(frame["n_equal"].iloc[0])
    table = text_table(
        "Losses at equal effort (dev scores)",
        f"expected best of {n}: of so many trials drawn from the loss's own (Dodge et al. 2019)",
    )
    table.add_column("loss", overflow="fold")
    for title in ("trials", "pruned", "hours", "best", f"expected best of {n}", "±"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in frame.to_dict("records"):
        numbers = [f"{row['trials']}", f"{row['pruned']}", f"{row['hours']:.2f}"]
        numbers += [_score(row["best"]), _score(row["expected_best"]), _score(row["expected_best_std"])]
        table.add_row(*(Text(cell) for cell in [str(row["loss"]), *numbers]))
    return table


def _score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
