"""What the chosen dev images say in numbers and sentences; sentences are about all dev images, not the chosen ones."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.recorded.recorded_search import RecordedTrial
from analysis.subjects.cases.table import found_at_least, image_ious, image_mious
from analysis.words.number_words import counted, listed, short
from trainable.measure.image_counts import ImageCounts

_COLUMNS: Final = [
    "run_id", "trial_id", "rank", "image", "scene", "miou", "class", "true_positives", "false_negatives",
    "false_positives", "iou", "objects", "missed_objects", "false_alarms",
]  # fmt: skip

_NAMED_CLASSES: Final = 3


def tabulate_cases(trial: RecordedTrial, counts: ImageCounts, rows: Sequence[int]) -> pd.DataFrame:
    """The recorded numbers of the chosen images.

    Args:
        trial: Whose.
        counts: What it did on dev.
        rows: Of the counts, in the order in which they are drawn.

    Returns:
        A row for each image and class that occurs in it or was predicted, with the columns run_id, trial_id, rank
        (from 1, as drawn), image, scene, miou (of the image), class, true_positives, false_negatives, false_positives
        (pixels), iou (NaN where the class does not occur), objects, missed_objects, false_alarms.
    """
    records = [
        _record(trial, counts, rank, row, label)
        for rank, row in enumerate(rows, start=1)
        for label in np.flatnonzero(counts.counts[row].any(axis=1)).tolist()
    ]
    frame = pd.DataFrame(records, columns=_COLUMNS)
    frame["miou"] = frame["rank"].map(dict(enumerate(image_mious(counts)[list(rows)], start=1)))
    return frame


def _record(trial: RecordedTrial, counts: ImageCounts, rank: int, row: int, label: int) -> dict[str, object]:
    tp, fn, fp = counts.counts[row, label].tolist()
    return {
        "run_id": trial.run_id,
        "trial_id": trial.trial_id,
        "rank": rank,
        "image": counts.images[row],
        "scene": counts.scenes[row],
        "class": counts.class_names[label],
        "true_positives": tp,
        "false_negatives": fn,
        "false_positives": fp,
        "iou": tp / (tp + fn + fp) if tp + fn else float("nan"),
    } | dict(zip(_COLUMNS[-3:], counts.objects[row, label].tolist(), strict=True))


def describe_images(counts: ImageCounts) -> str:
    """How much the mIoU of dev images differs, and what is lost in how many; empty for fewer than two images."""
    mious = image_mious(counts)
    mious = mious[~np.isnan(mious)]
    if len(mious) < 2:
        return ""
    text = (
        f"Over all {len(mious)} labelled dev images an image's own mIoU lies between {short(mious.min())} and "
        f"{short(mious.max())}, with a median of {short(float(np.median(mious)))}"
    )
    lost = image_ious(counts) == 0
    if not lost.any():
        return f"{text}."
    images = int(lost.any(axis=1).sum())
    return f"{text}; in {images} of them a class that occurs has no pixel right ({_most_lost(lost, counts)})."


def _most_lost(lost_NC: NDArray[np.bool_], counts: ImageCounts) -> str:
    """In how many images each class is lost, the most frequent first."""
    images = lost_NC.sum(axis=0)
    order = sorted(np.flatnonzero(images).tolist(), key=lambda label: (-images[label], label))
    named = [f"{counts.class_names[label]} in {images[label]}" for label in order[:_NAMED_CLASSES]]
    return listed([*named, *(["others"] if len(order) > _NAMED_CLASSES else [])])


def describe_difference(finder: str, by_finder: ImageCounts, misser: str, by_misser: ImageCounts) -> str:
    """How many objects each of two networks finds that the other misses, over all dev images, with false alarms.

    Args:
        finder: Id of the trial that is spoken of first.
        by_finder: What it did on dev.
        misser: Id of the other.
        by_misser: What that did on the same images.
    """
    names = by_finder.class_names
    found, lost = found_at_least(by_finder, by_misser), found_at_least(by_misser, by_finder)
    alarms, other_alarms = (int(counts.objects[..., 2].sum()) for counts in (by_finder, by_misser))
    dev = f"{counted(len(by_finder.images), 'dev image')} with {counted(_objects(by_finder), 'object')}"
    return (
        f"Over all {dev}, {finder} finds {_by_class(found, names)} that {misser} misses, and misses "
        f"{_by_class(lost, names)} that {misser} finds, as far as the counts by image, class and size tell; {finder} "
        f"has {counted(alarms, 'false alarm')}, {misser} {other_alarms}. That is one training of each, on dev, which "
        "they were chosen by."
    )


def _objects(counts: ImageCounts) -> int:
    return int(counts.objects[..., 0].sum())


def _by_class(objects_NC: NDArray[np.int64], names: Sequence[str]) -> str:
    """`at least 5 (person 3, bike 2)`, the most frequent classes first; `none`."""
    objects = objects_NC.sum(axis=0)
    order = sorted(np.flatnonzero(objects).tolist(), key=lambda label: (-objects[label], label))
    named = ", ".join(f"{names[label]} {objects[label]}" for label in order)
    return f"at least {objects.sum()} ({named})" if named else "none"
