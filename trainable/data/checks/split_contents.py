"""What dev and val can judge: scenes and objects of each class in each split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainable.data.dataset_problem import Problem
from trainable.data.image_set import ImageSet, Split

MIN_SCENES: Final = 5
"""Scenes below which no interval is given: an interval comes of drawing scenes anew, and few give few draws."""

MIN_DEV_OBJECTS: Final = 10
"""Objects of a thing class in dev below which one more found moves its recall by over a tenth."""


@dataclass(frozen=True)
class SplitContents:
    """How much of each class each split has; C classes.

    Attributes:
        names: Of the classes, in label order.
        thing_labels: Labels of the thing classes.
        scenes: Scenes of each split.
        class_scenes: Scenes of each split that have a pixel of each class, int64 (C,).
        class_objects: Objects of each class in each split, int64 (C,); 0 for stuff. Tiny ones do not count.
    """

    names: tuple[str, ...]
    thing_labels: tuple[int, ...]
    scenes: Mapping[Split, int]
    class_scenes: Mapping[Split, NDArray[np.int64]]
    class_objects: Mapping[Split, NDArray[np.int64]]


def count_splits(
    image_set: ImageSet,
    pixel_counts: NDArray[np.int64],
    object_counts: NDArray[np.int64],
    splits: Mapping[Split, Sequence[int]],
) -> SplitContents:
    """Count scenes and objects.

    Args:
        image_set: Classes and scenes.
        pixel_counts: Pixels of each class in each sample, (samples, classes).
        object_counts: Objects likewise.
        splits: The samples of each split.
    """
    scenes = np.array([sample.scene for sample in image_set])
    return SplitContents(
        tuple(entry.name for entry in image_set.classes),
        image_set.thing_labels,
        {split: len(np.unique(scenes[list(rows)])) for split, rows in splits.items()},
        {split: _scenes_with(scenes[list(rows)], pixel_counts[list(rows)]) for split, rows in splits.items()},
        {split: object_counts[list(rows)].sum(axis=0) for split, rows in splits.items()},
    )


def _scenes_with(scenes: NDArray[np.str_], pixel_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scenes that have a pixel of each class."""
    names, scene_of = np.unique(scenes, return_inverse=True)
    has = np.zeros((len(names), pixel_counts.shape[1]), dtype=bool)
    np.logical_or.at(has, scene_of, pixel_counts > 0)
    counts: NDArray[np.int64] = has.sum(axis=0)
    return counts


def warn_of_unjudged(counts: SplitContents) -> list[Problem]:
    """Say what dev and val are too small for, one warning a rule; classes they have none of are told elsewhere."""
    warnings = [_warn_of_small_val(counts), _warn_of_few_scenes(counts), _warn_of_few_objects(counts)]
    return [warning for warning in warnings if warning is not None]


def _warn_of_small_val(counts: SplitContents) -> Problem | None:
    if counts.scenes["val"] >= MIN_SCENES:
        return None
    rule = f"val should have {MIN_SCENES} scenes or more"
    value = f"{counts.scenes['val']}: no interval is possible, and the confirmation will say so"
    remedy = "Give val more scenes; if many lie in one, say what a scene is (scene_regex)"
    return Problem(None, rule, value, remedy, warning=True)


def _warn_of_few_scenes(counts: SplitContents) -> Problem | None:
    few = [
        f"{name} ({scenes})"
        for name, scenes in zip(counts.names, counts.class_scenes["val"].tolist(), strict=True)
        if 0 < scenes < MIN_SCENES
    ]
    if not few or counts.scenes["val"] < MIN_SCENES:  # said of all classes already
        return None
    rule = f"a class should lie in {MIN_SCENES} scenes of val or more"
    remedy = "No interval is possible for it: give val more scenes that have it"
    return Problem(None, rule, ", ".join(few), remedy, warning=True)


def _warn_of_few_objects(counts: SplitContents) -> Problem | None:
    occurring = [label for label in counts.thing_labels if counts.class_scenes["dev"][label]]
    objects = {counts.names[label]: int(counts.class_objects["dev"][label]) for label in occurring}
    few = [f"{name} ({count})" for name, count in objects.items() if count < MIN_DEV_OBJECTS]
    if not few:
        return None
    rule = f"a thing class should have {MIN_DEV_OBJECTS} objects in dev or more"
    remedy = "Each one found or missed moves its recall far: raise dev_share, or tune on a mean over classes"
    return Problem(None, rule, ", ".join(few), remedy, warning=True)
