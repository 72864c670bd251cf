"""What metrics are made of: sums over images of each class's counts, of several draws of images at once.

Shapes: D draws, N images, C classes; 3 counts.
"""

import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from trainable.config.metric_registry import MetricEntry

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClassSums:
    """Sums over the images of each draw.

    Attributes:
        pixels: True positives, false negatives, false positives. (D, C, 3), float64.
        found: True objects, missed ones, false alarms. (D, C, 3), float64.
        images: How many images were summed. (D,), float64.
    """

    pixels: Floats
    found: Floats
    images: Floats

    @classmethod
    def of_split(cls, matrix: Counts, objects: Counts | None = None) -> Self:
        """The sums of a whole split, as one draw.

        Args:
            matrix: Its confusion matrix, (C, C), integers >= 0, rows true.
            objects: True objects, missed ones and false alarms of each image, (N, C, 3), int64; None: none were
                counted.

        Raises:
            ValueError: If the matrix is not square, not of integers, or has a negative count.
        """
        _check_matrix(matrix)
        if objects is None:
            objects = np.zeros((0, len(matrix), 3), dtype=np.int64)
        tp = np.diagonal(matrix)
        pixels = np.stack([tp, matrix.sum(axis=1) - tp, matrix.sum(axis=0) - tp], axis=1)
        both = (pixels[None].astype(np.float64), objects.sum(axis=0)[None].astype(np.float64))
        return cls(*both, np.array([len(objects)], dtype=np.float64))

    def only(self, labels: Iterable[int]) -> Self:
        """Keep the classes of some labels, in their order."""
        kept = list(labels)
        return type(self)(self.pixels[:, kept], self.found[:, kept], self.images)

    @property
    def tp(self) -> Floats:
        """Pixels of the class that were predicted as it, (D, C), as all that follow."""
        return self.pixels[..., 0]

    @property
    def fn(self) -> Floats:
        """Pixels of the class that were predicted as another."""
        return self.pixels[..., 1]

    @property
    def fp(self) -> Floats:
        """Pixels of other classes that were predicted as the class."""
        return self.pixels[..., 2]

    @property
    def objects(self) -> Floats:
        """True objects."""
        return self.found[..., 0]

    @property
    def missed(self) -> Floats:
        """True objects that were missed."""
        return self.found[..., 1]

    @property
    def alarms(self) -> Floats:
        """Predicted objects where there is none."""
        return self.found[..., 2]


def _check_matrix(matrix: Counts) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square, (C, C); got {matrix.shape}. Pass rows true, columns predicted.")
    if not np.issubdtype(matrix.dtype, np.integer) or (matrix < 0).any():
        raise ValueError(f"matrix must hold integers >= 0; got {matrix.dtype}. Pass counts, not shares.")


def compute(metric: MetricEntry, sums: ClassSums) -> Floats:
    """Call the function of a metric.

    Args:
        metric: Its entry.
        sums: Of the classes that the metric is over.

    Returns:
        (D,), of a metric of one class (D, C); float64, NaN where there is no value.
    """
    return _function(metric.implementation)(sums)


@cache
def _function(reference: str) -> Callable[[ClassSums], Floats]:
    function: Callable[[ClassSums], Floats] = pkgutil.resolve_name(reference)
    return function
