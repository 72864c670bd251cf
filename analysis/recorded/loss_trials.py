"""The trials of a search, a row each, with what they scored: what losses are compared by."""

import math
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.evidence.scene_scores import STUFF_MIOU, SplitCounts, scene_metric
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from trainable.measure.image_counts import ImageCounts

SCENE_METRICS: Final = ("miou", "thing_miou", STUFF_MIOU)
"""Scores over all classes, over things, over stuff; classes that do not occur are left out."""

CLASS_METRICS: Final = ("iou", "recall", "precision")
"""Scores of one class; their columns are named `iou/person`."""

ENDINGS: Final = ("full", "early", "diverged", "failed", "unended")
"""How a trial ended: at full length, stopped early, diverged, without any score, or not yet."""


def ending_of(trial: RecordedTrial, max_epochs: int) -> str:
    """One of `ENDINGS`; a trial that ended without a score counts as failed."""
    if trial.state in ("running", "interrupted", "diverged"):
        return "diverged" if trial.state == "diverged" else "unended"
    if not trial.ended or not math.isfinite(trial.objective):
        return "failed"
    return "full" if trial.epochs >= max_epochs else "early"


def tabulate_trials(search: RecordedSearch) -> pd.DataFrame:
    """Tabulate every trial with its scores on dev at its best epoch.

    Returns:
        A row for each trial with the columns run_id, trial_id, loss, ending (one of `ENDINGS`), epochs, objective,
        early_epoch and early_objective (see `shortest_length`; of trials that ended with a score), and of those that
        ran the full length and have recorded counts `SCENE_METRICS` and `CLASS_METRICS` of each class
        (`iou/person`). NaN elsewhere, and where a class does not occur. Precision is 0 where a class occurs and is
        never predicted: predicting the easy ones alone must not look precise.
    """
    shortest = shortest_length(search)
    rows = [_row(trial, search, shortest) for trial in search.trials]
    fixed = ["run_id", "trial_id", "loss", "ending", "epochs", "objective", "early_epoch", "early_objective"]
    of_classes = [f"{kind}/{entry.name}" for entry in search.classes for kind in CLASS_METRICS]
    return pd.DataFrame(rows, columns=[*fixed, *SCENE_METRICS, *of_classes])


def shortest_length(search: RecordedSearch) -> int:
    """The most epochs that every trial that ended with a score has trained; 0 where there is none."""
    ended = [trial for trial in search.trials if ending_of(trial, search.max_epochs) in ("full", "early")]
    return min((trial.epochs for trial in ended), default=0)


def _row(trial: RecordedTrial, search: RecordedSearch, shortest: int) -> dict[str, Any]:
    ending = ending_of(trial, search.max_epochs)
    scored = ending in ("full", "early")
    row: dict[str, Any] = {
        "run_id": trial.run_id,
        "trial_id": trial.trial_id,
        "loss": trial.loss,
        "ending": ending,
        "epochs": trial.epochs,
        "objective": trial.objective if scored else math.nan,
    }
    if scored and shortest:
        curve = trial.objective_curve
        row |= {"early_epoch": shortest, "early_objective": float(curve.iloc[shortest - 1])}
    counts = trial.image_counts if ending == "full" else None
    if counts is not None and counts.class_names == tuple(entry.name for entry in search.classes):
        row |= score_classes(counts)
    return row


def score_classes(counts: ImageCounts) -> dict[str, float]:
    """`SCENE_METRICS` of a network, and `CLASS_METRICS` of each class by `iou/person`; see `tabulate_trials`."""
    split = SplitCounts(counts.counts, counts.objects).by_scene(["all"] * len(counts.images))
    names = counts.class_names
    of_classes = {
        f"{kind}/{name}": scene_metric(f"{kind}/{name}", names, ()).on_all(split)
        for name in names
        for kind in CLASS_METRICS
    }
    for name in names:
        if math.isnan(of_classes[f"precision/{name}"]) and not math.isnan(of_classes[f"recall/{name}"]):
            of_classes[f"precision/{name}"] = 0.0
    things = np.flatnonzero(counts.things).tolist()
    scores = {name: scene_metric(name, names, things).on_all(split) for name in SCENE_METRICS}
    return scores | of_classes
