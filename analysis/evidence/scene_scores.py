"""What one network counted, scene by scene, and the metrics of any weighted sum of scenes.

The definitions are those of `trainable.measure.confusion` and of the recorded metrics, so that a metric at weight 1 for
every scene is the recorded one. A class that the truth does not have, in the scenes that have weight, is left out of
means.

Shapes: N images, S scenes, C classes, D draws of scene weights; 3 counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from trainable.config.objectives import CLASS_OBJECTIVES, PLAIN_OBJECTIVES, is_minimised

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

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


@dataclass(frozen=True, eq=False)
class SceneTotals:
    """Weighted sums over scenes, (D, C) each; images: (D,). Every metric of the same draws is made of the same sums."""

    tp: Floats
    fn: Floats
    fp: Floats
    objects: Floats
    missed: Floats
    alarms: Floats
    images: Floats


def scene_totals(scenes: SceneCounts, weights_DS: Floats) -> SceneTotals:
    """Sum the scenes, each as often as it counts.

    Args:
        scenes: What a network counted.
        weights_DS: How often each scene counts, >= 0, (D, S).
    """
    classes = scenes.counts.shape[1]
    both = np.stack([scenes.counts, scenes.objects], axis=1).astype(np.float64)
    sums = (weights_DS @ both.reshape(len(both), -1)).reshape(-1, 2, classes, 3)
    tp, fn, fp = sums[:, 0, :, 0], sums[:, 0, :, 1], sums[:, 0, :, 2]
    objects, missed, alarms = sums[:, 1, :, 0], sums[:, 1, :, 1], sums[:, 1, :, 2]
    return SceneTotals(tp, fn, fp, objects, missed, alarms, weights_DS @ scenes.images)


def _ratio(numerator: Floats, denominator: Floats, where: NDArray[np.bool] | None = None) -> Floats:
    """Divide; NaN where the denominator is 0, or `where` is false."""
    defined = denominator > 0 if where is None else where & (denominator > 0)
    ratio: Floats = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=defined)
    return ratio


_OF_CLASSES: Final[Mapping[str, Callable[[SceneTotals], Floats]]] = {
    "iou": lambda sums: _ratio(sums.tp, sums.tp + sums.fn + sums.fp, sums.tp + sums.fn > 0),
    "recall": lambda sums: _ratio(sums.tp, sums.tp + sums.fn),
    "precision": lambda sums: _ratio(sums.tp, sums.tp + sums.fp, sums.tp + sums.fn > 0),
    # In the mean over things one that is never predicted is 0: predicting the easy ones alone must not look precise.
    "thing_precision": lambda sums: _ratio(
        sums.tp, np.where(sums.tp + sums.fp > 0, sums.tp + sums.fp, 1.0), sums.tp + sums.fn > 0
    ),
    "miss_rate": lambda sums: _ratio(sums.missed, sums.objects),
    "false_alarms_per_image": lambda sums: _ratio(
        sums.alarms, np.broadcast_to(sums.images[:, None], sums.alarms.shape)
    ),
}
"""(D, C) from sums; NaN where a class has no such value."""


def _mean(values_DC: Floats) -> Floats:
    """The mean of each row's numbers; NaN where it has none."""
    defined = ~np.isnan(values_DC)
    return _ratio(np.where(defined, values_DC, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _least(values_DC: Floats) -> Floats:
    least = np.where(np.isnan(values_DC), np.inf, values_DC).min(axis=1, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)


def _sum(values_DC: Floats) -> Floats:
    return values_DC.sum(axis=1) if values_DC.shape[1] else np.full(len(values_DC), np.nan)


@dataclass(frozen=True)
class Metric:
    """A metric of weighted scenes; made by `scene_metric`.

    Attributes:
        name: As it is recorded: `miou`, `recall/person`.
        kind: What it is made of: one of `CLASS_OBJECTIVES`, or `pixel_accuracy`.
        labels: The classes that it is made of; None: all.
        reduce: Makes one number of those classes' values: (D, classes) to (D,).
    """

    name: str
    kind: str
    labels: tuple[int, ...] | None
    reduce: Callable[[Floats], Floats]

    @property
    def minimised(self) -> bool:
        """Whether lower is better."""
        return is_minimised(self.name)

    def __call__(self, scenes: SceneCounts, weights_DS: Floats) -> Floats:
        """Compute the metric of each draw.

        Args:
            scenes: What a network counted.
            weights_DS: How often each scene counts, >= 0, (D, S).

        Returns:
            (D,), float64; NaN where the metric is undefined.
        """
        return self.of_totals(scene_totals(scenes, weights_DS))

    def of_totals(self, sums: SceneTotals) -> Floats:
        """Compute the metric of sums over scenes, (D,); see `__call__`."""
        if self.kind == "pixel_accuracy":
            return _ratio(sums.tp.sum(axis=1), (sums.tp + sums.fn).sum(axis=1))
        return self.reduce(self._pick(_OF_CLASSES[self.kind](sums)))

    def on_all(self, scenes: SceneCounts) -> float:
        """Compute the metric of all scenes, each once."""
        return float(self(scenes, np.ones((1, len(scenes.names))))[0])

    def scene_shares(self, scenes: SceneCounts) -> Floats:
        """How much of what the metric measures lies in each scene.

        The scene's share of a class's true pixels (objects for `miss_rate`), averaged over the classes of the metric
        that occur; of the images for false alarms, which every scene can have; of the worst class's pixels alone for
        `worst_class_iou`.

        Returns:
            (S,), float64, of sum 1; zeros where nothing that the metric measures occurs.
        """
        truth = self._measured(scenes).astype(np.float64)
        totals = truth.sum(axis=0)
        present = truth[:, totals > 0] / totals[totals > 0]
        return present.mean(axis=1) if present.shape[1] else np.zeros(len(truth))

    def _measured(self, scenes: SceneCounts) -> Counts:
        """What the metric's classes are counted in, (S, classes)."""
        if self.kind == "false_alarms_per_image":
            return scenes.images[:, None]
        if self.kind == "pixel_accuracy":
            labelled: Counts = scenes.pixels.sum(axis=1, keepdims=True)
            return labelled
        of_class: Counts = self._pick(scenes.objects[..., 0] if self.kind == "miss_rate" else scenes.pixels)
        return of_class[:, [_worst_class(scenes)]] if self.reduce is _least else of_class

    def _pick(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self.labels is None else values[:, list(self.labels)]


def _worst_class(scenes: SceneCounts) -> int:
    ious = _OF_CLASSES["iou"](scene_totals(scenes, np.ones((1, len(scenes.names)))))[0]
    return int(np.where(np.isnan(ious), np.inf, ious).argmin())


def scene_metric(name: str, class_names: Sequence[str], thing_labels: Iterable[int]) -> Metric:
    """Find a metric by the name that it is recorded under.

    Args:
        name: One of `PLAIN_OBJECTIVES`, `STUFF_MIOU`, or one of `CLASS_OBJECTIVES` of a class: `iou/person`.
        class_names: In label order.
        thing_labels: Labels of the things, as of `ImageSet.thing_labels`.

    Raises:
        ValueError: If there is no such metric or class.
    """
    kind, _, class_name = name.partition("/")
    if name == STUFF_MIOU:
        stuff = sorted(set(range(len(class_names))) - set(thing_labels))
        return Metric(name, "iou", tuple(stuff), _mean)
    if name in PLAIN_OBJECTIVES:
        kinds = {"miou": "iou", "worst_class_iou": "iou", "thing_precision": "thing_precision"}
        kind = kinds.get(name, name.removeprefix("thing_"))
        labels = tuple(thing_labels) if name.startswith("thing_") else None
        reduce = {"worst_class_iou": _least, "thing_false_alarms_per_image": _sum}.get(name, _mean)
        return Metric(name, "iou" if kind == "miou" else kind, labels, reduce)
    if kind in CLASS_OBJECTIVES and class_name in class_names:
        return Metric(name, kind, (list(class_names).index(class_name),), _mean)
    raise ValueError(
        f"a metric must be one of {', '.join(PLAIN_OBJECTIVES)}, or {', '.join(CLASS_OBJECTIVES)} of a class "
        f"({', '.join(class_names)}); got {name}. Name it as recall/{next(iter(class_names), 'person')}."
    )
