"""The metrics of a split by their recorded names; those that do not exist are left out."""

import math
from collections.abc import Mapping, Sequence

from trainable.config.metric_registry import METRICS, MetricEntry
from trainable.data.image_set import ImageSet
from trainable.measure.class_sums import ClassSums, Counts, compute
from trainable.record import metric_names as names


def split_metrics(matrix: Counts, objects: Counts, image_set: ImageSet) -> dict[str, float]:
    """Metrics of what a network says as it is.

    Args:
        matrix: int64 (classes x classes), rows true.
        objects: int64 (images x classes x 3): true objects, missed ones, false alarms.
        image_set: Its class names and which are things.
    """
    return _metrics(ClassSums.of_split(matrix, objects), METRICS, image_set)


def adjusted_metrics(matrix: Counts, tau: float, image_set: ImageSet) -> dict[str, float]:
    """Metrics after logit adjustment of strength `tau`; `matrix` is that of the adjusted labels."""
    metrics = _metrics(ClassSums.of_split(matrix), _pixel_metrics(), image_set)
    return {names.adjusted_metric(name): value for name, value in metrics.items()} | {names.ADJUSTED_TAU: tau}


def fit_tau(matrices: Counts, taus: Sequence[float], objective: str, image_set: ImageSet) -> int:
    """Which tau is the best, by its place; of equals the one closest to 0.

    Args:
        matrices: int64 (taus x classes x classes), the split's confusion matrix at each.
        taus: Strengths of logit adjustment.
        objective: The metric to be highest. Where it is none of the confusion matrix, or does not exist here, miou is
            taken in its place.
        image_set: Its class names and which are things.
    """
    kinds = (objective.partition("/")[0], names.MIOU)
    wanted = {kind: entry for kind, entry in _pixel_metrics().items() if kind in kinds}
    metrics = [_metrics(ClassSums.of_split(matrix), wanted, image_set) for matrix in matrices]
    if not any(objective in of_tau for of_tau in metrics):
        objective = names.MIOU
    # The precision of a class that is predicted at other taus only does not exist here: nothing was found.
    values = [of_tau.get(objective, 0.0) for of_tau in metrics]
    return max(range(len(taus)), key=lambda place: (values[place], -abs(taus[place])))


def _pixel_metrics() -> dict[str, MetricEntry]:
    return {name: entry for name, entry in METRICS.items() if not entry.of_objects}


def _metrics(sums: ClassSums, chosen: Mapping[str, MetricEntry], image_set: ImageSet) -> dict[str, float]:
    """The metrics chosen by name, those of one class for each class that can have them."""
    things = sums.only(image_set.thing_labels)
    metrics: dict[str, float] = {}
    for name, entry in chosen.items():
        if entry.over == "class":
            values_C = compute(entry, sums)[0]
            labels = image_set.thing_labels if entry.of_objects else range(len(image_set.classes))
            metrics |= {names.class_metric(name, image_set.classes[label].name): values_C[label] for label in labels}
        else:
            metrics[name] = compute(entry, things if entry.over == "things" else sums)[0]
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
