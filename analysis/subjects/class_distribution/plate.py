"""The plates of how frequent an image set's classes are."""

from typing import Final

import pandas as pd

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.subjects.class_distribution.figure import draw_class_bars, draw_class_scale
from analysis.subjects.class_distribution.table import (
    describe_rarity,
    describe_shares,
    pool_splits,
    shown_splits,
    tabulate_class_distribution,
)
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.share_words import percent
from trainable.data.image_set import ImageSet
from trainable.data.scene_split import SplitAssignment

DISTRIBUTION: Final = "Class distribution"
SCALE: Final = "Class distribution on a logarithmic scale"


def class_distribution_plate(
    image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment, dev_apart: bool = False
) -> Plate:
    """Shares of pixels and images by class and split, as bars on two axes.

    Raises:
        Unavailable: No pixel is labelled.
    """
    frame, left_out = _distribution(image_set, statistics, splits, dev_apart)
    shown = _split_words(frame, splits, dev_apart)
    return Plate(
        key="class_distribution",
        title=DISTRIBUTION,
        shows="For each class, the most frequent first: the share of a split's labelled pixels that are of the class "
        f"(dark bars, left axis) and the share of its images that have it at all (light bars, right axis); {shown}.",
        says=f"{describe_shares(frame)}{left_out}",
        alt="Bar chart with two vertical axes, share of pixels and share of images, over the classes. "
        f"{_list_shares(frame)}",
        table=frame,
        draw=lambda palette: draw_class_bars(frame),
    )


def class_scale_plate(
    image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment, dev_apart: bool = False
) -> Plate:
    """Shares of pixels by class and split on a logarithmic axis, on which rare classes can be seen.

    Raises:
        Unavailable: No pixel is labelled.
    """
    frame, left_out = _distribution(image_set, statistics, splits, dev_apart)
    shown = _split_words(frame, splits, dev_apart)
    absent = "; none: the split has no pixel of the class" if (frame["pixels"] == 0).any() else ""
    return Plate(
        key="class_distribution_log",
        title=SCALE,
        shows="The same shares as points, of pixels on a scale where each line is ten times the one before, so that "
        f"rare classes can be seen, and of images on a plain scale; things are bold on a tinted row; {shown}{absent}.",
        says=f"{describe_rarity(frame)}{left_out}".strip(),
        alt="Dot plot, a row a class: share of pixels on a logarithmic axis, share of images on a linear one. "
        f"{_list_shares(frame)}",
        table=frame,
        draw=lambda palette: draw_class_scale(frame),
    )


def _distribution(
    image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment, dev_apart: bool
) -> tuple[pd.DataFrame, str]:
    """The shares of the splits that have a labelled pixel, and a sentence on those that have none."""
    counts, rows = statistics.pixel_counts, shown_splits(splits, dev_apart)
    labelled = {split: counts[list(members)].any() for split, members in rows.items()}
    if not any(labelled.values()):
        raise Unavailable(
            "No class distribution: no pixel of the set has a class, all are ignored. Check the classes and the "
            "ignored values of its description with `aerosweep data check`."
        )
    kept = {split: members for split, members in rows.items() if labelled[split]}
    empty = [split for split in rows if not labelled[split]]
    left_out = f" Left out, without a labelled pixel: {', '.join(empty)}." if empty else ""
    scenes = [sample.scene for sample in image_set]
    return tabulate_class_distribution(counts, kept, scenes, image_set.classes), left_out


def _split_words(frame: pd.DataFrame, splits: SplitAssignment, dev_apart: bool) -> str:
    first = frame.drop_duplicates("split")
    sizes = ", ".join(
        f"{split} {count:,} images" for split, count in zip(first["split"], first["of_images"], strict=True)
    )
    return sizes if dev_apart or not splits.dev else f"{sizes}, the {len(splits.dev):,} of dev counted to train"


def _list_shares(frame: pd.DataFrame) -> str:
    pooled = pool_splits(frame)
    parts = [
        f"{row['class']} {percent(float(row['pixel_share']))} of pixels, {percent(float(row['image_share']))} of images"
        for row in pooled.to_dict("records")
    ]
    return f"In all splits together: {'; '.join(parts)}."
