"""A trial's IoU class by class and epoch by epoch."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.recorded.recorded_search import RecordedTrial
from analysis.words.number_words import listed, short
from analysis.words.share_words import percent
from trainable.data.image_set import LabelClass
from trainable.record.metric_names import iou_metric

_COLUMNS: Final = ("run_id", "trial_id", "class", "thing", "pixels", "pixel_share", "epoch", "iou", "best")

NEVER_FOUND: Final = 0.01
"""An IoU below which a class counts as not found."""


def tabulate_class_iou(trial: RecordedTrial, classes: Sequence[LabelClass]) -> pd.DataFrame:
    """The IoU on dev of each class that occurs there, by epoch.

    Args:
        trial: Any.
        classes: All classes, in label order.

    Returns:
        A row for each class and epoch with the columns run_id, trial_id, class, thing, pixels (true ones on dev; NaN
        where the counts were not recorded), pixel_share (of all labelled pixels of dev), epoch, iou (NaN where it was
        not recorded), best (whether it is the best epoch). Things stand before stuff, and among them the class of most
        pixels first. Classes that never occur are left out.
    """
    pixels = _pixels(trial, len(classes))
    history = trial.history.reindex(
        index=range(1, trial.epochs + 1), columns=[iou_metric(entry.name) for entry in classes]
    )
    order = sorted(range(len(classes)), key=lambda c: (not classes[c].thing, -np.nan_to_num(pixels[c]), c))
    rows = [
        {
            "run_id": trial.run_id,
            "trial_id": trial.trial_id,
            "class": classes[label].name,
            "thing": classes[label].thing,
            "pixels": pixels[label],
            "pixel_share": pixels[label] / pixels.sum() if pixels.sum() else np.nan,
            "epoch": epoch,
            "iou": iou,
            "best": epoch == trial.best_epoch,
        }
        for label in order
        if history.iloc[:, label].notna().any()
        for epoch, iou in enumerate(history.iloc[:, label], start=1)
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _pixels(trial: RecordedTrial, num_classes: int) -> NDArray[np.float64]:
    """True pixels of each class on dev, NaN where they are not recorded."""
    counts = trial.image_counts
    if counts is None or len(counts.class_names) != num_classes:
        return np.full(num_classes, np.nan)
    pixels: NDArray[np.float64] = counts.counts[..., :2].sum(axis=(0, 2)).astype(np.float64)
    return pixels


def absent_classes(frame: pd.DataFrame, classes: Sequence[LabelClass]) -> list[str]:
    """The classes that were left out because they never occur in dev, in label order."""
    shown = set(frame["class"])
    return [entry.name for entry in classes if entry.name not in shown]


def describe_class_iou(frame: pd.DataFrame) -> str:
    """Which classes have the lowest and the highest IoU in the best epoch, and which were never found.

    Args:
        frame: As of `tabulate_class_iou`.

    Returns:
        Empty where fewer than two classes have an IoU in the best epoch, or all have the same.
    """
    best = frame[frame["best"] & frame["iou"].notna()]
    if len(best) < 2 or best["iou"].nunique() < 2:
        return ""
    lowest, highest = best.iloc[int(best["iou"].argmin())], best.iloc[int(best["iou"].argmax())]
    share = "" if np.isnan(lowest["pixel_share"]) else f" ({percent(lowest['pixel_share'])} of the dev pixels)"
    words = (
        f"In the best epoch ({lowest['epoch']}) IoU on dev is lowest for {lowest['class']}{share}, "
        f"{short(lowest['iou'])}, and highest for {highest['class']}, {short(highest['iou'])}."
    )
    return f"{words}{_describe_never_found(frame)}"


def _describe_never_found(frame: pd.DataFrame) -> str:
    most = frame.groupby("class", sort=False)["iou"].max()
    lost = most[most < NEVER_FOUND].index.tolist()
    return f" IoU stayed below {short(NEVER_FOUND, 2)} in every epoch for {listed(lost)}." if lost else ""
