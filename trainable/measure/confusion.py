"""Counts of true against predicted labels over a whole split, and the metrics that are made of them.

The counts are exact (int64) and accumulate on the device of the predictions; the metrics are those of
`trainable.measure.metric_functions` on the final matrix.

Shapes: N images, C classes, H rows, W columns. In a confusion matrix rows are true labels, columns predicted ones.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainable.measure.class_sums import ClassSums, Floats
from trainable.measure.metric_functions import (
    iou,
    least_of_present,
    mean_of_present,
    pixel_accuracy,
    precision,
    recall,
)

_BYTES: Final = 256
"""How many values a byte has."""


def confusion_matrices(
    prediction_NHW: Tensor, target_NHW: Tensor, num_classes: int, ignore_index: int | None = None
) -> Tensor:
    """Count the pixels of each pair of true and predicted label, image by image.

    Args:
        prediction_NHW: Predicted labels in [0, num_classes), any integer dtype.
        target_NHW: True labels in [0, num_classes) or `ignore_index`, any integer dtype.
        num_classes: C.
        ignore_index: True label of the pixels that are not counted; None: every pixel is.

    Returns:
        (N, C, C), int64, rows true and columns predicted, on the device of the predictions.

    Raises:
        ValueError: If a shape, a dtype or a label is wrong.
    """
    _check_shapes(prediction_NHW, target_NHW)
    prediction_NHW, label_NHW = _computable(prediction_NHW), _computable(target_NHW)
    if len(label_NHW) == 1 and label_NHW.numel() > 0 and num_classes < 128:
        matrix = _count_bytes(_as_bytes(prediction_NHW), _as_bytes(label_NHW), num_classes, ignore_index)
        if matrix is not None:
            return matrix
    ignored_NHW = _ignored(label_NHW, ignore_index)
    if ignored_NHW is not None:
        label_NHW = label_NHW.masked_fill(ignored_NHW, 0)
    _check_labels(prediction_NHW, label_NHW, num_classes, ignore_index)
    return _count(prediction_NHW, label_NHW, ignored_NHW, num_classes)


def _computable(labels_NHW: Tensor) -> Tensor:
    """The labels as they are, but in a type that torch computes with."""
    return labels_NHW.long() if labels_NHW.dtype in (torch.uint16, torch.uint32, torch.uint64) else labels_NHW


def _as_bytes(labels_NHW: Tensor) -> Tensor | None:
    """The labels as uint8, None where they do not fit."""
    if labels_NHW.dtype == torch.uint8:
        return labels_NHW
    low, high = torch.stack(labels_NHW.aminmax()).tolist()
    return labels_NHW.to(torch.uint8) if low >= 0 and high < _BYTES else None


def _count_bytes(
    prediction_1HW: Tensor | None, target_1HW: Tensor | None, num_classes: int, ignore_index: int | None
) -> Tensor | None:
    """As `confusion_matrices`, of one image and fewer than 128 classes, and None where a label is out of range.

    What is true and predicted is counted as it is, for any byte that a true label can be; what was out of range is seen
    in the counts. Neighbours, which mostly are equal, count in tables of their own: a counter is not ready to be read
    right after it was written.
    """
    if prediction_1HW is None or target_1HW is None or int(prediction_1HW.max()) >= num_classes:
        return None
    cells = _BYTES * num_classes
    tables = min(8, 2**15 // cells)
    cell_1HW = torch.add(prediction_1HW.to(torch.int16), target_1HW, alpha=num_classes)
    table_W = torch.arange(cell_1HW.shape[2], device=cell_1HW.device) % tables
    cell_1HW += (table_W * cells).to(torch.int16)
    counts = torch.bincount(cell_1HW.flatten(), minlength=tables * cells)
    matrix = counts.view(tables, _BYTES, num_classes).sum(dim=0)
    if ignore_index is not None and 0 <= ignore_index < _BYTES:
        matrix[ignore_index] = 0
    return None if matrix[num_classes:].any() else matrix[None, :num_classes]


def _ignored(label_NHW: Tensor, ignore_index: int | None) -> Tensor | None:
    """Which pixels are not counted; None where none can be."""
    limits = torch.iinfo(label_NHW.dtype)
    if ignore_index is None or not limits.min <= ignore_index <= limits.max:
        return None  # torch would compare with what is left of the number in the labels' type
    return label_NHW == ignore_index


def _count(prediction_NHW: Tensor, label_NHW: Tensor, ignored_NHW: Tensor | None, num_classes: int) -> Tensor:
    """As `confusion_matrices`, of labels in range; ignored pixels are counted in a cell after the last of an image."""
    n, cells = len(label_NHW), num_classes**2 + 1
    # Bytes are what counting costs: 16 bits hold the cells of an image of up to 180 classes.
    dtype = torch.int16 if n * cells < 2**15 else torch.int64
    cell_NHW = label_NHW.to(dtype, copy=True).mul_(num_classes).add_(prediction_NHW)
    if ignored_NHW is not None:
        cell_NHW.masked_fill_(ignored_NHW, num_classes**2)
    if n > 1:
        cell_NHW += cells * torch.arange(n, dtype=dtype, device=cell_NHW.device).view(n, 1, 1)
    counts = torch.bincount(cell_NHW.flatten(), minlength=n * cells).view(n, cells)
    return counts[:, :-1].view(n, num_classes, num_classes)


def outcome_counts(matrix_NCC: Tensor) -> Tensor:
    """True positives, false negatives and false positives of each class, (N, C, 3), from matrices, (N, C, C)."""
    tp = matrix_NCC.diagonal(dim1=1, dim2=2)
    return torch.stack([tp, matrix_NCC.sum(dim=2) - tp, matrix_NCC.sum(dim=1) - tp], dim=2)


def _check_shapes(prediction_NHW: Tensor, target_NHW: Tensor) -> None:
    if prediction_NHW.ndim != 3 or prediction_NHW.shape != target_NHW.shape:
        raise ValueError(
            f"prediction and target must both be (N, H, W); got {tuple(prediction_NHW.shape)} and "
            f"{tuple(target_NHW.shape)}. Take `logits.argmax(dim=1)`; pass a single image as a batch of one."
        )
    for name, tensor in (("prediction", prediction_NHW), ("target", target_NHW)):
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise ValueError(f"{name} must have an integer dtype; got {tensor.dtype}. Pass labels, not scores.")


def _check_labels(prediction_NHW: Tensor, label_NHW: Tensor, num_classes: int, ignore_index: int | None) -> None:
    """Refuse labels that would land in another pair's cell."""
    if label_NHW.numel() == 0:
        return
    extremes = torch.stack([*torch.aminmax(prediction_NHW), *torch.aminmax(label_NHW)]).tolist()
    wrong = [label for label in extremes if not 0 <= label < num_classes]
    if wrong:
        raise ValueError(
            f"prediction and target labels must be in 0..{num_classes - 1}, or {ignore_index} (ignore_index) in the "
            f"target; got {wrong[0]}. Name the ignored label, or give the right number of classes."
        )


@dataclass(frozen=True, eq=False)
class ClassMetrics:
    """Metrics by class, and their means over the classes that occur in the truth.

    Attributes:
        iou: TP / (TP + FN + FP). (C,), float64 in [0, 1]; NaN for a class that never occurs in the truth.
        recall: TP / (TP + FN). Likewise.
        precision: TP / (TP + FP). Likewise, and NaN also for a class that was never predicted.
        pixel_accuracy: Share of the counted pixels that are right, in [0, 1]; NaN if none was counted.
    """

    iou: Floats
    recall: Floats
    precision: Floats
    pixel_accuracy: float

    @property
    def left_out(self) -> tuple[int, ...]:
        """Labels, ascending, that never occur in the truth and are left out of every mean."""
        return tuple(np.flatnonzero(np.isnan(self.iou)).tolist())

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that occur; NaN if none does."""
        return float(mean_of_present(self.iou[None])[0])

    @property
    def worst_class_iou(self) -> float:
        """Lowest IoU of a class that occurs; NaN if none does."""
        return float(least_of_present(self.iou[None])[0])


def class_metrics(matrix: npt.ArrayLike) -> ClassMetrics:
    """Compute metrics from a confusion matrix.

    Args:
        matrix: (C, C), integers >= 0, rows true and columns predicted.

    Raises:
        ValueError: If the matrix is not square, not of integers, or has a negative count.
    """
    sums = ClassSums.of_split(np.asarray(matrix))
    return ClassMetrics(
        iou=iou(sums)[0],
        recall=recall(sums)[0],
        precision=precision(sums)[0],
        pixel_accuracy=float(pixel_accuracy(sums)[0]),
    )
