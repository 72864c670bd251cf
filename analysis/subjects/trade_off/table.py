"""What finding more things costs: each trial's recall against its precision, and its misses against its false alarms.

The front is of full-length trials alone, as the leaderboard's is: one that was stopped early has few false alarms,
because it does not find anything yet. For the same reason a trial that finds nothing at all is on no front.
"""

import math
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.evidence.scene_scores import SplitCounts, scene_metric
from analysis.recorded.loss_trials import ending_of
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.words.configuration_words import loss_title
from analysis.words.number_words import counted, listed, short, signed
from trainable.measure.image_counts import ImageCounts
from trainable.measure.pareto_front import non_dominated

TRADED: Final = ("thing_recall", "thing_precision", "thing_miss_rate", "thing_false_alarms_per_image")

TRADE_OFF_COLUMNS: Final = [
    "run_id", "trial_id", "loss", "ending", "epochs", "best_epoch", "objective", *TRADED, "pixel_front", "object_front",
]  # fmt: skip

_FOUND: Final = 0.01
"""Trials of less recall find nothing that there would be a price of."""

_FEWEST: Final = 3
"""Of two trials nothing can be said that the figure does not show."""


def tabulate_trade_off(search: RecordedSearch) -> pd.DataFrame:
    """Tabulate what each trial finds on dev at its best epoch, and what it takes for a thing that is none.

    Returns:
        Columns `TRADE_OFF_COLUMNS`, a row for each trial that ended with a score and has recorded counts of things, the
        best by the objective first. ending: full or early; recall and precision: of pixels, the mean over thing
        classes; miss rate: of objects, the mean over thing classes; false alarms an image: of all thing classes; NaN
        where dev has no such pixels or objects; pixel_front, object_front: whether it is on the front of the first two,
        of the last two.
    """
    known = [trial for trial in search.ranked if ending_of(trial, search.max_epochs) in ("full", "early")]
    pairs = [(trial, trial.image_counts) for trial in known]
    rows = [_row(trial, search, counts) for trial, counts in pairs if counts is not None and counts.things.any()]
    frame = pd.DataFrame(rows, columns=TRADE_OFF_COLUMNS)
    full = frame["ending"] == "full"
    recall, miss_rate = frame["thing_recall"], frame["thing_miss_rate"]
    frame["pixel_front"] = _front(frame[[*TRADED[:2]]], full & (recall > 0))
    frame["object_front"] = _front(-frame[[*TRADED[2:]]], full & (miss_rate < 1))
    return frame


def _row(trial: RecordedTrial, search: RecordedSearch, counts: ImageCounts) -> dict[str, Any]:
    scenes = SplitCounts(counts.counts, counts.objects).by_scene(counts.scenes)
    things = np.flatnonzero(counts.things).tolist()
    values = {name: scene_metric(name, counts.class_names, things).on_all(scenes) for name in TRADED}
    if math.isnan(values["thing_miss_rate"]):  # without a true object there is nothing to trade false alarms for
        values["thing_false_alarms_per_image"] = math.nan
    return {
        "run_id": trial.run_id,
        "trial_id": trial.trial_id,
        "loss": trial.loss,
        "ending": ending_of(trial, search.max_epochs),
        "epochs": trial.epochs,
        "best_epoch": trial.best_epoch,
        "objective": trial.objective,
        **values,
    }


def _front(gains: pd.DataFrame, eligible: "pd.Series[bool]") -> NDArray[np.bool_]:
    """Which rows are on the front of the eligible ones that have both values."""
    rows = np.flatnonzero(eligible & gains.notna().all(axis=1))
    on_front = np.zeros(len(gains), dtype=np.bool_)
    on_front[rows] = non_dominated(gains.to_numpy(dtype=np.float64)[rows])
    return on_front


def describe_trade_off(frame: pd.DataFrame) -> str:
    """Say who is on the front of recall and precision, and what the highest recall costs; empty for too few trials.

    Args:
        frame: As of `tabulate_trade_off`.
    """
    full = frame[(frame["ending"] == "full") & frame["thing_recall"].notna()]
    front = full[full["pixel_front"]].sort_values("thing_recall", ascending=False, kind="stable")
    if len(full) < _FEWEST:
        return ""
    if full["thing_recall"].max() < _FOUND:
        return f"None of {counted(len(full), 'full-length trial')} finds 1 % of the things' pixels on dev."
    losses = [
        f"{number} of {counted(int((full['loss'] == loss).sum()), 'trial')} with {loss_title(str(loss))}"
        for loss, number in front["loss"].value_counts(sort=False).items()
    ]
    return f"On dev the front of recall and precision has {listed(losses)}. {_price(front)}"


def _price(front: pd.DataFrame) -> str:
    """What the highest recall costs in precision, against the highest precision of the front."""
    first, last = front.iloc[0], front.iloc[-1]
    highest = f"the highest thing recall, {short(first['thing_recall'], 2)}"
    if first["thing_precision"] == last["thing_precision"]:
        return f"{_named(first)} has both {highest}, and the highest precision, {short(first['thing_precision'], 2)}."
    recall = signed(first["thing_recall"] - last["thing_recall"], 2)
    precision = signed(first["thing_precision"] - last["thing_precision"], 2)
    return (
        f"{_named(first)} has {highest}, with precision {short(first['thing_precision'], 2)}; against the front's most "
        f"precise, {_named(last)}, that is {recall} recall and {precision} precision."
    )


def _named(trial: "pd.Series[Any]") -> str:
    return f"{trial['trial_id']} ({loss_title(str(trial['loss']))})"
