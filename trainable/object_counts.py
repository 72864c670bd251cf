"""How many objects a network finds, misses and invents, image by image.

A true object counts as missed where less than half of its pixels are predicted as its class. A predicted object, an
8-connected component of the predicted thing class, is a false alarm where it shares no pixel with a true object of that
class, however small that one is; being its neighbour is not enough. Predictions on ignored pixels are erased before
components are made. Objects below the least size are neither true objects nor false alarms. All are counted by their
size: true and missed ones by that of the true object, false alarms by that of the predicted one.

Shapes: N images, C classes, B bins of size; 3 counts.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainable.image_cache import ImageCache
from trainable.image_set import IGNORED
from trainable.objects import Objects, number_components
from trainable.views import View

SIZE_EDGES: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384)
"""The least pixels of each bin of object size; a bin is twice as wide and high as the one before."""


class ObjectCounter:
    """Counts the objects of a split from the network's views of it; it holds the labels of unfinished images alone.

    Args:
        cache: The decoded images.
        indices: Which of them are the split.
        thing_labels: Labels of the thing classes.
        min_pixels: Smaller objects are none.

    Attributes:
        counts: int64 (N, C, B, 3): true objects, missed ones, false alarms by size; zeros for stuff, and for an image
            until all of it has been seen.
    """

    def __init__(self, cache: ImageCache, indices: Sequence[int], thing_labels: Sequence[int], min_pixels: int) -> None:
        self.counts = np.zeros((len(indices), cache.pixel_counts.shape[1], len(SIZE_EDGES), 3), dtype=np.int64)
        self._cache = cache
        self._indices = indices
        self._thing_labels = thing_labels
        self._min_pixels = min_pixels
        self._unfinished: dict[int, tuple[NDArray[np.uint8], int]] = {}

    def add(self, view: View, labels_NHW: NDArray[np.uint8]) -> None:
        """Take what was predicted for the scored part of a view; an image is counted when it is whole."""
        if not self._thing_labels:
            return
        rows, columns = view.keep
        top, left = view.window.top + rows.start, view.window.left + columns.start
        for position, labels_HW in zip(view.positions, labels_NHW, strict=True):
            whole_HW, missing = (
                self._unfinished.pop(position) if position in self._unfinished else self._empty(position)
            )
            height, width = labels_HW.shape
            whole_HW[top : top + height, left : left + width] = labels_HW
            if missing > labels_HW.size:
                self._unfinished[position] = whole_HW, missing - labels_HW.size
                continue
            index = self._indices[position]
            self.counts[position] = count_objects(
                whole_HW,
                self._cache.mask(index),
                self._cache.objects(index),
                self._thing_labels,
                self._min_pixels,
                self.counts.shape[1],
            )

    def _empty(self, position: int) -> tuple[NDArray[np.uint8], int]:
        labels_HW = np.empty(self._cache.shapes[self._indices[position]], dtype=np.uint8)
        return labels_HW, labels_HW.size


def count_objects(
    prediction_HW: NDArray[np.uint8],
    target_HW: NDArray[np.uint8],
    objects: Objects,
    thing_labels: Sequence[int],
    min_pixels: int,
    num_classes: int,
) -> NDArray[np.int64]:
    """Count one image's objects.

    Args:
        prediction_HW: Predicted labels of the whole image.
        target_HW: True labels, IGNORED where nothing is scored.
        objects: All objects of `target_HW`, whatever their size.
        thing_labels: Labels of the thing classes.
        min_pixels: Smaller objects are none.
        num_classes: C.

    Returns:
        int64 (C, B, 3): true objects, missed ones, false alarms by size; zeros for stuff.
    """
    found = prediction_HW.ravel()[objects.pixels] == np.repeat(objects.labels, objects.sizes)
    hits = np.concatenate([np.zeros(1, dtype=np.int64), found.cumsum()])[objects.starts]
    large = objects.sizes >= min_pixels
    missed = large & (2 * np.diff(hits) < objects.sizes)
    scored_HW = np.where(target_HW == IGNORED, np.uint8(IGNORED), prediction_HW)
    kinds = [
        (objects.labels[large], objects.sizes[large]),
        (objects.labels[missed], objects.sizes[missed]),
        _false_alarms(scored_HW, objects.pixels[found], thing_labels, min_pixels),
    ]
    return np.stack([_by_size(labels, sizes, num_classes) for labels, sizes in kinds], axis=2)


def _by_size(labels: NDArray[np.int64], sizes: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """How many objects there are of each class and bin of size, (C, B)."""
    bins = np.searchsorted(SIZE_EDGES, sizes, side="right") - 1
    cells = np.bincount(labels * len(SIZE_EDGES) + bins, minlength=num_classes * len(SIZE_EDGES))
    return cells.reshape(num_classes, len(SIZE_EDGES))


def _false_alarms(
    prediction_HW: NDArray[np.uint8], hits: NDArray[np.int32], thing_labels: Sequence[int], min_pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Class and size of each component that is large enough and has none of the `hits`, pixels of a true object."""
    components_HW, count = number_components(prediction_HW, thing_labels)
    component_of = components_HW.ravel()
    where = np.flatnonzero(component_of > 0)
    component = component_of[where]
    sizes = np.bincount(component, minlength=count + 1)
    alarm = sizes >= min_pixels
    alarm[component_of[hits]] = False
    labels = np.zeros(count + 1, dtype=np.int64)
    labels[component] = prediction_HW.ravel()[where]
    return labels[1:][alarm[1:]], sizes[1:][alarm[1:]]
