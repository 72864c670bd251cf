"""What one network counted, scene by scene, and the metrics of any weighted sum of scenes.

The definitions are those of the recorded metrics (`trainable.measure.metric_functions`), so that a metric at weight 1
for every scene is the recorded one. A class that the truth does not have, in the scenes that have weight, is left out
of means.

Shapes: N images, S scenes, C classes, D draws of scene weights; 3 counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainable.config.metric_registry import METRICS, MetricEntry
from trainable.config.objectives import class_objectives, plain_objectives
from trainable.measure.class_sums import ClassSums, Counts, Floats, compute
from trainable.measure.metric_functions import iou

_Number = TypeVar("_Number", np.int64, np.float64)

STUFF_MIOU: Final = "stuff_miou"
"""Mean IoU over the classes that are no things; nothing to search for, but what a gain in things may cost."""


@dataclass(frozen=True, eq=False)
class SplitCounts:
    """What one network counted on each image of a split.

    Attributes:
        counts: Pixels of each image and class: true positives, false negatives, false positives. (N, C, 3), int64.
        objects: Objects of each image and class: true ones, missed ones, false alarms. (N, C, 3), int64; zeros for
            classes that are no things.

    Raises:
        ValueError: If a shape, a dtype or a count is wrong.
    """

    counts: Counts
    objects: Counts

    def __post_init__(self) -> None:
        for name, array in (("counts", self.counts), ("objects", self.objects)):
            if array.ndim != 3 or array.shape[2] != 3 or array.shape != self.counts.shape:
                raise ValueError(
                    f"counts and objects must both be (images, classes, 3); got {self.counts.shape} and "
                    f"{self.objects.shape}. Pass the arrays of one evaluation."
                )
            if array.dtype != np.int64 or (array < 0).any():
                raise ValueError(f"{name} must hold int64 >= 0; got {array.dtype}. Pass counts, not shares.")
        if (self.objects[..., 1] > self.objects[..., 0]).any():
            raise ValueError(
                "no class can miss more objects than it has; an image does. Pass objects as true, missed, false alarms."
            )

    def by_scene(self, scenes: Sequence[str]) -> "SceneCounts":
        """Sum the images of each scene.

        Args:
            scenes: The scene of each image.

        Raises:
            ValueError: If there is not one scene for each image.
        """
        if len(scenes) != len(self.counts):
            raise ValueError(
                f"each image must have a scene; got {len(scenes)} scenes for {len(self.counts)} images. "
                "Pass the scenes in the order of the counts."
            )
        names, scene_of = np.unique(np.asarray(list(scenes), dtype=str), return_inverse=True)
        sums = np.zeros((2, len(names), *self.counts.shape[1:]), dtype=np.int64)
        np.add.at(sums[0], scene_of, self.counts)
        np.add.at(sums[1], scene_of, self.objects)
        images = np.bincount(scene_of, minlength=len(names)).astype(np.int64)
        return SceneCounts(tuple(names.tolist()), sums[0], sums[1], images)


@dataclass(frozen=True, eq=False)
class SceneCounts:
    """What one network counted on each scene; made by `SplitCounts.by_scene`.

    Attributes:
        names: The scenes, ascending.
        counts: (S, C, 3), int64: true positive, false negative and false positive pixels.
        objects: (S, C, 3), int64: true objects, missed ones, false alarms.
        images: Images of each scene, (S,), int64.
    """

    names: tuple[str, ...]
    counts: Counts
    objects: Counts
    images: Counts

    @property
    def pixels(self) -> Counts:
        """True pixels of each scene and class, (S, C)."""
        truth: Counts = self.counts[..., 0] + self.counts[..., 1]
        return truth

    def only(self, names: Iterable[str]) -> Self:
        """Keep the scenes named, in our order; where that is all of them, the same object."""
        wanted = set(names)
        if wanted.issuperset(self.names):
            return self
        rows = [row for row, name in enumerate(self.names) if name in wanted]
        kept = tuple(self.names[row] for row in rows)
        return type(self)(kept, self.counts[rows], self.objects[rows], self.images[rows])


def shared_scenes(networks: Sequence[SceneCounts]) -> list[SceneCounts]:
    """Keep the scenes that all networks were evaluated on.

    Raises:
        ValueError: If a scene's images or truth differ between two networks.
    """
    names = set(networks[0].names).intersection(*(network.names for network in networks[1:]))
    kept = [network.only(names) for network in networks]
    for other in kept[1:]:
        _check_same_truth(kept[0], other)
    return kept


def _check_same_truth(one: SceneCounts, other: SceneCounts) -> None:
    if one.counts.shape != other.counts.shape:
        raise ValueError(
            f"compared networks must know the same classes; got {one.counts.shape[1]} and {other.counts.shape[1]}. "
            "Compare networks of one image set."
        )
    differs = (
        (one.images != other.images)
        | (one.pixels != other.pixels).any(axis=1)
        | (one.objects[..., 0] != other.objects[..., 0]).any(axis=1)
    )
    if differs.any():
        raise ValueError(
            f"compared networks must be evaluated on the same images; scene {one.names[int(differs.argmax())]} has "
            "other images or another truth in one of them. Evaluate both on the same split."
        )


def scene_totals(scenes: SceneCounts, weights_DS: Floats) -> ClassSums:
    """Sum the scenes, each as often as it counts; every metric of the same draws is made of the same sums.

    Args:
        scenes: What a network counted.
        weights_DS: How often each scene counts, >= 0, (D, S).
    """
    classes = scenes.counts.shape[1]
    both = np.stack([scenes.counts, scenes.objects], axis=1).astype(np.float64)
    sums = (weights_DS @ both.reshape(len(both), -1)).reshape(-1, 2, classes, 3)
    return ClassSums(sums[:, 0], sums[:, 1], weights_DS @ scenes.images)


@dataclass(frozen=True)
class Metric:
    """A metric of weighted scenes; made by `scene_metric`.

    Attributes:
        name: As it is recorded: `miou`, `recall/person`.
        entry: What the registry knows of it.
        labels: The classes that it is made of; None: all.
    """

    name: str
    entry: MetricEntry
    labels: tuple[int, ...] | None

    @property
    def minimised(self) -> bool:
        """Whether lower is better."""
        return self.entry.lower_is_better

    def __call__(self, scenes: SceneCounts, weights_DS: Floats) -> Floats:
        """Compute the metric of each draw.

        Args:
            scenes: What a network counted.
            weights_DS: How often each scene counts, >= 0, (D, S).

        Returns:
            (D,), float64; NaN where the metric is undefined.
        """
        return self.of_totals(scene_totals(scenes, weights_DS))

    def of_totals(self, sums: ClassSums) -> Floats:
        """Compute the metric of sums over scenes, (D,); see `__call__`."""
        if self.entry.over == "class":
            return self._pick(compute(self.entry, sums))[:, 0]
        return compute(self.entry, self._only(sums))

    def on_all(self, scenes: SceneCounts) -> float:
        """Compute the metric of all scenes, each once."""
        return float(self(scenes, np.ones((1, len(scenes.names))))[0])

    def scene_shares(self, scenes: SceneCounts) -> Floats:
        """How much of what the metric measures lies in each scene.

        The scene's share of a class's true pixels (or of what else the metric lies in, see `MetricEntry`), averaged
        over the classes of the metric that occur.

        Returns:
            (S,), float64, of sum 1; zeros where nothing that the metric measures occurs.
        """
        truth = self._measured(scenes).astype(np.float64)
        totals = truth.sum(axis=0)
        present = truth[:, totals > 0] / totals[totals > 0]
        return present.mean(axis=1) if present.shape[1] else np.zeros(len(truth))

    def _measured(self, scenes: SceneCounts) -> Counts:
        """What the metric's classes are counted in, (S, classes)."""
        match self.entry.lies_in:
            case "images":
                return scenes.images[:, None]
            case "objects":
                return self._pick(scenes.objects[..., 0])
            case "pixels of all":
                labelled: Counts = scenes.pixels.sum(axis=1, keepdims=True)
                return labelled
            case "pixels of the worst":
                return self._pick(scenes.pixels)[:, [self._worst(scenes)]]
            case "pixels":
                return self._pick(scenes.pixels)

    def _worst(self, scenes: SceneCounts) -> int:
        """The place of the class of the lowest IoU among those of the metric."""
        ious = iou(self._only(scene_totals(scenes, np.ones((1, len(scenes.names))))))[0]
        return int(np.where(np.isnan(ious), np.inf, ious).argmin())

    def _only(self, sums: ClassSums) -> ClassSums:
        return sums if self.labels is None else sums.only(self.labels)

    def _pick(self, values: NDArray[_Number]) -> NDArray[_Number]:
        return values if self.labels is None else values[:, list(self.labels)]


def scene_metric(name: str, class_names: Sequence[str], thing_labels: Iterable[int]) -> Metric:
    """Find a metric by the name that it is recorded under.

    Args:
        name: One of `plain_objectives`, `STUFF_MIOU`, or one of `class_objectives` of a class: `iou/person`.
        class_names: In label order.
        thing_labels: Labels of the things, as of `ImageSet.thing_labels`.

    Raises:
        ValueError: If there is no such metric or class.
    """
    kind, slash, class_name = name.partition("/")
    things = tuple(thing_labels)
    if name == STUFF_MIOU:
        stuff = sorted(set(range(len(class_names))) - set(things))
        return Metric(name, METRICS["miou"], tuple(stuff))
    entry = METRICS.get(kind)
    if entry is not None and entry.over != "class" and not slash:
        return Metric(name, entry, things if entry.over == "things" else None)
    if entry is not None and entry.over == "class" and class_name in class_names:
        return Metric(name, entry, (list(class_names).index(class_name),))
    raise ValueError(
        f"a metric must be one of {', '.join(plain_objectives())}, or {', '.join(class_objectives())} of a class "
        f"({', '.join(class_names)}); got {name}. Name it as recall/{next(iter(class_names), 'person')}."
    )
