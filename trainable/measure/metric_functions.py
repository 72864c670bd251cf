"""The metrics, each a function of sums; `trainable/config/metric_registry.py` names them.

A function gives NaN where it has no value: it is then not recorded. A class that never occurs in the truth has no pixel
metrics (NaN) and is left out of every mean, also if it was predicted: its false positives are the other classes' false
negatives, and are paid for there.

Shapes: D draws of images, C classes.
"""

import numpy as np
from numpy.typing import NDArray

from trainable.measure.class_sums import ClassSums, Floats


def iou(sums: ClassSums) -> Floats:
    """TP / (TP + FN + FP) of each class, (D, C); NaN where it does not occur."""
    return _ratio(sums.tp, sums.tp + sums.fn + sums.fp, sums.tp + sums.fn > 0)


def recall(sums: ClassSums) -> Floats:
    """TP / (TP + FN) of each class, (D, C); NaN where it does not occur."""
    return _ratio(sums.tp, sums.tp + sums.fn)


def precision(sums: ClassSums) -> Floats:
    """TP / (TP + FP) of each class, (D, C); NaN where it does not occur or is never predicted."""
    return _ratio(sums.tp, sums.tp + sums.fp, sums.tp + sums.fn > 0)


def miss_rate(sums: ClassSums) -> Floats:
    """Share of the true objects of each class that are missed, (D, C); NaN where there is none."""
    return _ratio(sums.missed, sums.objects)


def false_alarms_per_image(sums: ClassSums) -> Floats:
    """Predicted objects of each class where there is none, an image, (D, C); NaN where there is no image."""
    return _ratio(sums.alarms, np.broadcast_to(sums.images[:, None], sums.alarms.shape))


def mean_iou(sums: ClassSums) -> Floats:
    """Mean IoU of the classes that occur, (D,)."""
    return mean_of_present(iou(sums))


def worst_iou(sums: ClassSums) -> Floats:
    """Lowest IoU of a class that occurs, (D,)."""
    return least_of_present(iou(sums))


def pixel_accuracy(sums: ClassSums) -> Floats:
    """Share of the counted pixels that are right, (D,); NaN if none was counted."""
    return _ratio(sums.tp.sum(axis=1), (sums.tp + sums.fn).sum(axis=1))


def mean_recall(sums: ClassSums) -> Floats:
    """Mean recall of the classes that occur, (D,)."""
    return mean_of_present(recall(sums))


def mean_precision(sums: ClassSums) -> Floats:
    """Mean precision of the classes that occur, (D,).

    One that is never predicted counts as 0: predicting the easy ones alone must not look precise.
    """
    predicted = sums.tp + sums.fp
    return mean_of_present(_ratio(sums.tp, np.where(predicted > 0, predicted, 1.0), sums.tp + sums.fn > 0))


def mean_miss_rate(sums: ClassSums) -> Floats:
    """Mean miss rate of the classes that have objects, (D,)."""
    rates_DC = miss_rate(sums)
    defined = ~np.isnan(rates_DC)
    return _ratio(_sum_in_order(np.where(defined, rates_DC, 0.0)), defined.sum(axis=1).astype(np.float64))


def all_false_alarms_per_image(sums: ClassSums) -> Floats:
    """Predicted objects of any of the classes where there is none, an image, (D,); NaN if there are no classes."""
    rates_DC = false_alarms_per_image(sums)
    return _sum_in_order(rates_DC) if rates_DC.shape[1] else np.full(len(rates_DC), np.nan)


def mean_of_present(values_DC: Floats) -> Floats:
    """The mean of each row's numbers, (D,); NaN where it has none."""
    defined = ~np.isnan(values_DC)
    somewhere = defined.any(axis=0)
    if not somewhere.all():
        # numpy rounds a sum of eight or more terms by their places: absent classes must not take places.
        values_DC, defined = values_DC[:, somewhere], defined[:, somewhere]
    return _ratio(np.where(defined, values_DC, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def least_of_present(values_DC: Floats) -> Floats:
    """The lowest of each row's numbers, (D,); NaN where it has none."""
    least = np.where(np.isnan(values_DC), np.inf, values_DC).min(axis=1, initial=np.inf)
    return np.where(np.isinf(least), np.nan, least)


def _sum_in_order(values_DC: Floats) -> Floats:
    """Sum each row from its first to its last, (D,): numpy rounds eight or more otherwise than trials have recorded."""
    total_D = np.zeros(len(values_DC))
    for values_D in values_DC.T:
        total_D += values_D
    return total_D


def _ratio(numerator: Floats, denominator: Floats, where: NDArray[np.bool] | None = None) -> Floats:
    """Divide; NaN where the denominator is 0, or `where` is false."""
    defined = denominator > 0 if where is None else where & (denominator > 0)
    ratio: Floats = np.full_like(numerator, np.nan)
    np.divide(numerator, denominator, out=ratio, where=defined)
    return ratio
