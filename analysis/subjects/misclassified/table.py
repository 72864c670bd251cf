"""Where misclassified pixels go: flows from the true class to the predicted one."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.subjects.confusion.table import tabulate_confusion
from analysis.words.number_words import listed
from analysis.words.share_words import percent
from trainable.data.image_set import LabelClass

OTHER: Final = "other"
"""Prefix of what small classes are drawn as together."""

LEAST_SHARE: Final = 0.01
"""Share of a panel's pixels below which a class is drawn with others."""

ALL: Final = "all classes"
THINGS: Final = "true things"


def tabulate_misclassified(matrix_CC: NDArray[np.int64], classes: Sequence[LabelClass]) -> pd.DataFrame:
    """The misclassified pixels of all classes, and of the things once more.

    Args:
        matrix_CC: Pixels, rows true, columns predicted.
        classes: In label order.

    Returns:
        A row for each panel (`ALL`, `THINGS`) and pair that has pixels, with the columns panel, true, predicted,
        true_thing, pixels, share (of the panel's pixels), drawn_true and drawn_predicted (see `name_small`).

    Raises:
        ValueError: The classes are not as many as the matrix's.
    """
    frame = tabulate_confusion(matrix_CC, classes)
    wrong = frame.loc[(frame["true"] != frame["predicted"]) & (frame["pixels"] > 0)]
    wrong = wrong[["true", "predicted", "true_thing", "pixels"]]
    panels = [_panel(ALL, wrong), _panel(THINGS, wrong[wrong["true_thing"]])]
    return pd.concat(panels, ignore_index=True)


def _panel(name: str, wrong: pd.DataFrame) -> pd.DataFrame:
    panel = wrong.assign(share=wrong["pixels"] / max(int(wrong["pixels"].sum()), 1))
    panel.insert(0, "panel", name)
    return panel.assign(
        drawn_true=name_small(panel["true"], panel["share"]),
        drawn_predicted=name_small(panel["predicted"], panel["share"]),
    )


def name_small(names: "pd.Series[str]", shares: "pd.Series[float]", least: float = LEAST_SHARE) -> "pd.Series[str]":
    """What each class is drawn as on one side: itself, or `other (5 classes)`.

    Args:
        names: The class of each flow.
        shares: Share of each flow.
        least: Classes with less in all are drawn together, if they are two or more.
    """
    totals = shares.groupby(names).sum()
    small = totals[totals < least].index
    if len(small) < 2:
        return names
    return names.where(~names.isin(small), f"{OTHER} ({len(small)} classes)")


def grouped_flows(panel: pd.DataFrame) -> pd.DataFrame:
    """One panel's flows as they are drawn, small classes added up: drawn_true, drawn_predicted, pixels, share."""
    return panel.groupby(["drawn_true", "drawn_predicted"], sort=False, as_index=False)[["pixels", "share"]].sum()


def describe_misclassified(
    frame: pd.DataFrame, matrix_CC: NDArray[np.int64], things: NDArray[np.bool_], split: str
) -> str:
    """How much is misclassified, the things' part of it, and what they are mostly taken for.

    Args:
        frame: As of `tabulate_misclassified`.
        matrix_CC: Its matrix.
        things: Which classes are things, (C,).
        split: Name of the split.

    Returns:
        Empty where nothing is misclassified.
    """
    wrong = frame[frame["panel"] == ALL]
    if wrong.empty:
        return ""
    pixels, total = int(wrong["pixels"].sum()), int(matrix_CC.sum())
    largest = wrong.iloc[int(wrong["pixels"].argmax())]
    words = (
        f"{percent(pixels / total)} of the {total:,} {split} pixels are misclassified; the largest flow is "
        f"{largest['true']} taken for {largest['predicted']} ({percent(largest['share'])} of them)."
    )
    return words + _describe_things(frame, pixels, int(matrix_CC[things].sum()), total)


def _describe_things(frame: pd.DataFrame, pixels: int, thing_pixels: int, total: int) -> str:
    of_things = frame[frame["panel"] == THINGS]
    if of_things.empty:
        return ""
    lost = int(of_things["pixels"].sum())
    receivers = of_things.groupby("predicted", sort=False)["pixels"].sum().sort_values(ascending=False, kind="stable")
    mostly = [f"{name} ({percent(count / lost)})" for name, count in receivers.head(2).items()]
    return (
        f" Things are {percent(thing_pixels / total)} of the pixels and {percent(lost / pixels)} of the misclassified "
        f"ones; {percent(lost / thing_pixels)} of theirs are misclassified, mostly as {listed(mostly)}."
    )
