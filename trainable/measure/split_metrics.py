"""The metrics of a split by their recorded names; those that do not exist are left out."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainable.data.image_set import ImageSet
from trainable.measure.confusion import class_metrics
from trainable.record import metric_names as names

Counts = NDArray[np.int64]


def split_metrics(matrix: Counts, objects: Counts, image_set: ImageSet) -> dict[str, float]:
    """Metrics of what a network says as it is.

    Args:
        matrix: int64 (classes x classes), rows true.
        objects: int64 (images x classes x 3): true objects, missed ones, false alarms.
        image_set: Its class names and which are things.
    """
    return _pixel_metrics(matrix, image_set) | _object_metrics(objects, image_set)


def adjusted_metrics(matrix: Counts, tau: float, image_set: ImageSet) -> dict[str, float]:
    """Metrics after logit adjustment of strength `tau`; `matrix` is that of the adjusted labels."""
    metrics = {names.adjusted_metric(name): value for name, value in _pixel_metrics(matrix, image_set).items()}
    return metrics | {names.ADJUSTED_TAU: tau}


def fit_tau(matrices: Counts, taus: Sequence[float], objective: str, image_set: ImageSet) -> int:
    """Which tau is the best, by its place; of equals the one closest to 0.

    Args:
        matrices: int64 (taus x classes x classes), the split's confusion matrix at each.
        taus: Strengths of logit adjustment.
        objective: The metric to be highest. Where it is none of the confusion matrix, or does not exist here, miou is
            taken in its place.
        image_set: Its class names and which are things.
    """
    metrics = [_pixel_metrics(matrix, image_set) for matrix in matrices]
    if not any(objective in of_tau for of_tau in metrics):
        objective = names.MIOU
    # The precision of a class that is predicted at other taus only does not exist here: nothing was found.
    values = [of_tau.get(objective, 0.0) for of_tau in metrics]
    return max(range(len(taus)), key=lambda place: (values[place], -abs(taus[place])))


def _pixel_metrics(matrix: Counts, image_set: ImageSet) -> dict[str, float]:
    scores, things = class_metrics(matrix), image_set.thing_labels
    metrics = {
        names.MIOU: scores.mean_iou,
        names.THING_MIOU: scores.thing_miou(things),
        names.WORST_CLASS_IOU: scores.worst_class_iou,
        names.PIXEL_ACCURACY: scores.pixel_accuracy,
        names.THING_RECALL: scores.thing_recall(things),
        names.THING_PRECISION: scores.thing_precision(things),
    }
    for label, entry in enumerate(image_set.classes):
        metrics[names.iou_metric(entry.name)] = float(scores.iou[label])
        metrics[names.recall_metric(entry.name)] = float(scores.recall[label])
        metrics[names.precision_metric(entry.name)] = float(scores.precision[label])
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _object_metrics(objects: Counts, image_set: ImageSet) -> dict[str, float]:
    metrics: dict[str, float] = {}
    miss_rates, alarm_rates = [], []
    for label in image_set.thing_labels if len(objects) else ():
        true, missed, alarms = (int(count) for count in objects[:, label].sum(axis=0))
        name = image_set.classes[label].name
        alarm_rates.append(alarms / len(objects))
        metrics[names.false_alarms_metric(name)] = alarm_rates[-1]
        if true:
            miss_rates.append(missed / true)
            metrics[names.miss_rate_metric(name)] = miss_rates[-1]
    if miss_rates:
        metrics[names.THING_MISS_RATE] = sum(miss_rates) / len(miss_rates)
    if alarm_rates:
        metrics[names.THING_FALSE_ALARMS] = sum(alarm_rates)
    return metrics
