"""Objects of a label image: connected components of its thing classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of one image, in the order of their first pixels.

    Attributes:
        labels: int64 (objects,), the class of each.
        starts: int64 (objects + 1,); object i is `pixels[starts[i]:starts[i + 1]]`.
        pixels: int32 (pixels,), flat positions, row * width + column, ascending within an object.
    """

    labels: NDArray[np.int64]
    starts: NDArray[np.int64]
    pixels: NDArray[np.int32]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """int64 (objects,), pixels of each."""
        return np.diff(self.starts)


def find_objects(labels_HW: NDArray[np.uint8], thing_labels: Sequence[int]) -> Objects:
    """Find the 8-connected components of equal label of each thing class, whatever their size.

    Args:
        labels_HW: Labels; any that is no thing's is background.
        thing_labels: Labels of the thing classes, below 255.
    """
    components_HW, count = number_components(labels_HW, thing_labels)
    where = np.flatnonzero(components_HW.ravel() > 0)
    component = components_HW.ravel()[where] - 1
    # Few components fit in 16 bits, where numpy sorts by radix.
    order = np.argsort(component.astype(np.uint16) if count <= 2**16 else component, kind="stable")
    pixels = where.astype(np.int32)[order]
    starts = np.zeros(count + 1, dtype=np.int64)
    np.bincount(component, minlength=count).cumsum(out=starts[1:])
    return Objects(labels_HW.ravel()[pixels[starts[:-1]]].astype(np.int64), starts, pixels)


def number_components(
    labels_HW: NDArray[np.uint8], thing_labels: Sequence[int]
) -> tuple[NDArray[np.unsignedinteger], int]:
    """Number the 8-connected components of equal label of all thing classes, from 1 by their first pixels.

    Args:
        labels_HW: Labels; any that is no thing's is background.
        thing_labels: Labels of the thing classes, below 255.

    Returns:
        Unsigned HxW, each pixel's component or 0, and how many there are.
    """
    things = np.asarray(thing_labels, dtype=np.int64)
    shifted = np.zeros(256, dtype=np.uint8)  # to 1..: 0 is cc3d's background, and may be a thing's label
    shifted[things] = things + 1
    # `take` gives a new array in row order, as cc3d wants it: the maps of a cache are read-only.
    components, count = cc3d.connected_components(shifted.take(labels_HW), connectivity=8, return_N=True)
    return components, int(count)
