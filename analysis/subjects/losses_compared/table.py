"""Losses compared at equal effort: what the best of n trials of each is expected to score, overall and by class."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from analysis.evidence.expected_best import EXPECTED_COLUMNS, tabulate_expected
from analysis.recorded.loss_trials import CLASS_METRICS, ENDINGS, SCENE_METRICS

DROPPED: Final = 0.01
"""A class whose IoU stays below this is not found."""

FOUND: Final = 0.1
"""A class whose IoU reaches this is found."""


def compare_losses(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Compare the losses twice: full-length trials by all scores, all trials by the objective where the shortest ended.

    Args:
        trials: As of `analysis.recorded.loss_trials.tabulate_trials`.
        objective: The name of the objective; the same metric is not listed again.

    Returns:
        The columns of `tabulate_expected`, with comparison (full, early) and epochs before them. Full: objective and
        those of `SCENE_METRICS` that any trial has. Early: objective alone, and only where a trial was stopped early.
        Every loss of the search has its rows; those of most expected objective come first.
    """
    blank = trials.drop_duplicates("loss")[["loss"]]
    full = trials[trials["ending"] == "full"]
    metrics = [m for m in SCENE_METRICS if m != objective and full[m].notna().any()]
    parts = []
    if len(full):
        table = tabulate_expected(pd.concat([full, blank], ignore_index=True), ["objective", *metrics])
        parts.append(table.assign(comparison="full", epochs=int(full["epochs"].max())))
    if (trials["ending"] == "early").any():
        early = trials.assign(objective=trials["early_objective"])
        table = tabulate_expected(early, ["objective"])
        parts.append(table.assign(comparison="early", epochs=int(trials["early_epoch"].max())))
    columns = ["comparison", "epochs", *EXPECTED_COLUMNS]
    if not parts:
        return pd.DataFrame(columns=columns)
    return _best_loss_first(pd.concat(parts, ignore_index=True))[columns]


def _best_loss_first(compared: pd.DataFrame) -> pd.DataFrame:
    """Losses with full-length trials first, the best by expected objective first; those with none last."""
    of_objective = compared[compared["metric"] == "objective"].assign(
        late=lambda rows: rows["comparison"] == "early", missing=lambda rows: rows["expected_best"].isna()
    )
    ordered = of_objective.sort_values(["missing", "late", "expected_best"], ascending=[True, True, False])
    places = {loss: place for place, loss in enumerate(ordered["loss"].drop_duplicates())}
    return compared.sort_values("loss", key=lambda losses: losses.map(places), kind="stable", ignore_index=True)


def tabulate_points(trials: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """The single trials behind `compare_losses`: comparison, epochs, metric, loss, run_id, trial_id, value."""
    kinds = compared[["comparison", "epochs", "metric"]].drop_duplicates()
    parts = []
    for comparison, epochs, metric in kinds.itertuples(index=False):
        column = "early_objective" if comparison == "early" else metric
        rows = trials if comparison == "early" else trials[trials["ending"] == "full"]
        rows = rows[rows[column].notna()]
        ids = rows[["loss", "run_id", "trial_id"]].assign(value=rows[column])
        parts.append(ids.assign(comparison=comparison, epochs=epochs, metric=metric))
    columns = ["comparison", "epochs", "metric", "loss", "run_id", "trial_id", "value"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def tabulate_endings(trials: pd.DataFrame) -> pd.DataFrame:
    """How many trials of each loss ended how: index loss in order of appearance, a column for each of `ENDINGS`."""
    losses = trials["loss"].drop_duplicates().tolist()
    counts = pd.crosstab(trials["loss"], trials["ending"])
    return counts.reindex(index=losses, columns=list(ENDINGS), fill_value=0)


def compare_classes(trials: pd.DataFrame, things: Sequence[str]) -> pd.DataFrame:
    """Compare the losses class by class, at full length.

    Args:
        trials: As of `analysis.recorded.loss_trials.tabulate_trials`.
        things: Names of the thing classes.

    Returns:
        The columns of `tabulate_expected`, with class, thing (bool) and epochs before them, and trial_ids and run_ids
        (of the trials that it was computed of, semicolon-joined). Things come first, classes that do not occur not
        at all, and losses without a full-length trial that has counts not either.
    """
    full = trials[(trials["ending"] == "full") & trials["miou"].notna()]
    known = [c.partition("/")[2] for c in full.columns if c.startswith("iou/") and full[c].notna().any()]
    names = sorted(known, key=lambda name: name not in set(things))
    metrics = [f"{kind}/{name}" for name in names for kind in CLASS_METRICS]
    table = tabulate_expected(full, metrics)
    kinds = [metric.partition("/") for metric in table["metric"]]
    ids = full.groupby("loss")[["trial_id", "run_id"]].agg(";".join)
    table.insert(0, "class", [name for _, _, name in kinds])
    table.insert(1, "thing", [name in set(things) for _, _, name in kinds])
    table.insert(2, "epochs", int(full["epochs"].max()) if len(full) else 0)
    return table.assign(
        metric=[kind for kind, _, _ in kinds],
        trial_ids=table["loss"].map(ids["trial_id"]),
        run_ids=table["loss"].map(ids["run_id"]),
    )


def find_dropped(trials: pd.DataFrame, things: Sequence[str]) -> pd.DataFrame:
    """Find the thing classes that a loss never finds and another does, at full length.

    Args:
        trials: As of `analysis.recorded.loss_trials.tabulate_trials`.
        things: Names of the thing classes.

    Returns:
        A row for each class and loss whose trials' IoU all stay below `DROPPED`, where that of another loss reaches
        `FOUND`, with the columns class, loss, trials, found_by (the loss that has the highest IoU), found_in (its
        trial) and found (that IoU).
    """
    full = trials[(trials["ending"] == "full") & trials["miou"].notna()]
    rows = []
    for name in [thing for thing in things if f"iou/{thing}" in full.columns]:
        ious = full[f"iou/{name}"]
        if ious.max() < FOUND or ious.isna().all():
            continue
        finder = full.iloc[int(ious.argmax())]
        for loss, of_loss in ious.groupby(full["loss"], sort=False):
            if of_loss.max() < DROPPED:
                rows.append([name, loss, len(of_loss), finder["loss"], finder["trial_id"], float(ious.max())])
    return pd.DataFrame(rows, columns=["class", "loss", "trials", "found_by", "found_in", "found"])
