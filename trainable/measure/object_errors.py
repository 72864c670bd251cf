"""How many objects a network finds, misses and invents, image by image.

A true object counts as missed where less than half of its pixels are predicted as its class. A predicted object, an
8-connected component of the predicted thing class, is a false alarm where it shares no pixel with a true object of that
class, however small that one is; being its neighbour is not enough. Predictions on ignored pixels are erased before
components are made. Objects below the least size are neither true objects nor false alarms. All are counted by their
size: true and missed ones by that of the true object, false alarms by that of the predicted one.

Shapes: N images, C classes, B bins of size; 3 counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainable.data.components import Objects, number_components
from trainable.data.image_cache import ImageCache
from trainable.data.image_set import IGNORED
from trainable.measure.tiles import Tile

SIZE_EDGES: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384)
"""The least pixels of each bin of object size; a bin is twice as wide and high as the one before."""

BAND_PIXELS: Final = 2**21
"""Pixels among which predicted objects are looked for at once: it takes up to 40 bytes a pixel."""


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

    def add(self, tile: Tile, labels_NHW: NDArray[np.uint8]) -> None:
        """Take what was predicted for the scored part of a view; an image is counted when it is whole."""
        if not self._thing_labels:
            return
        rows, columns = tile.keep
        top, left = tile.window.top + rows.start, tile.window.left + columns.start
        for position, labels_HW in zip(tile.positions, labels_NHW, strict=True):
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
    hits = pixel_hits(prediction_HW, objects)
    large = objects.sizes >= min_pixels
    missed = large & ~are_found(hits, objects)
    alarms = _false_alarms(prediction_HW, target_HW, thing_labels, min_pixels)
    kinds = [
        (objects.labels[large], objects.sizes[large]),
        (objects.labels[missed], objects.sizes[missed]),
        (alarms.labels, alarms.sizes),
    ]
    return np.stack([_by_size(labels, sizes, num_classes) for labels, sizes in kinds], axis=2)


def pixel_hits(prediction_HW: NDArray[np.uint8], objects: Objects) -> NDArray[np.bool_]:
    """Which pixels of true objects are predicted as their object's class, in the order of `objects.pixels`."""
    hits: NDArray[np.bool_] = prediction_HW.ravel()[objects.pixels] == np.repeat(objects.labels, objects.sizes)
    return hits


def are_found(hits: NDArray[np.bool_], objects: Objects) -> NDArray[np.bool_]:
    """Which true objects are not missed, (objects,): half of their pixels or more are hit.

    Args:
        hits: Of `pixel_hits`.
        objects: The same.
    """
    sums = np.concatenate([np.zeros(1, dtype=np.int64), hits.cumsum()])[objects.starts]
    found: NDArray[np.bool_] = 2 * np.diff(sums) >= objects.sizes
    return found


def _by_size(labels: NDArray[np.int64], sizes: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """How many objects there are of each class and bin of size, (C, B)."""
    bins = np.searchsorted(SIZE_EDGES, sizes, side="right") - 1
    cells = np.bincount(labels * len(SIZE_EDGES) + bins, minlength=num_classes * len(SIZE_EDGES))
    return cells.reshape(num_classes, len(SIZE_EDGES))


@dataclass(frozen=True, eq=False)
class _Components:
    """Connected components of predicted things.

    Attributes:
        labels: int64 (components,), the class of each.
        sizes: int64 (components,), pixels of each.
        true: bool (components,), which of them share a pixel with a true object of their class.
    """

    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    true: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "_Components":
        return _Components(self.labels[chosen], self.sizes[chosen], self.true[chosen])

    @classmethod
    def all_of(cls, parts: "Sequence[_Components]") -> "_Components":
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _false_alarms(
    prediction_HW: NDArray[np.uint8], target_HW: NDArray[np.uint8], thing_labels: Sequence[int], min_pixels: int
) -> _Components:
    """The components that are large enough and of which no pixel is true.

    They are found in bands of rows, for memory's sake; those of two bands that touch are one.
    """
    height, width = prediction_HW.shape
    rows = max(1, BAND_PIXELS // width)
    inner: list[_Components] = []
    outer: list[_Components] = []
    touching: list[NDArray[np.int64]] = []
    above_2W, count = np.zeros((2, width), dtype=np.int64), 0
    for begin in range(0, height, rows):
        target = target_HW[begin : begin + rows]
        scored_HW = np.where(target == IGNORED, np.uint8(IGNORED), prediction_HW[begin : begin + rows])
        numbers_HW, found = number_components(scored_HW, thing_labels)
        components = _measure(numbers_HW, found, scored_HW, target)
        at_edge = np.isin(np.arange(found + 1), numbers_HW[[0, -1]])
        at_edge[0] = False  # no component
        inner.append(_alarms(components.where(~at_edge[1:]), min_pixels))
        outer.append(components.where(at_edge[1:]))
        numbers = np.where(at_edge, at_edge.cumsum() + count, 0)
        first_2W, last_2W = (np.stack([numbers[numbers_HW[row]], scored_HW[row]]) for row in (0, -1))
        touching.append(_touching(above_2W, first_2W))
        above_2W, count = last_2W, numbers.max(initial=count)
    joined = _join(_Components.all_of(outer), np.concatenate(touching, axis=1))
    return _Components.all_of([*inner, _alarms(joined, min_pixels)])


def _measure(
    numbers_HW: NDArray[np.unsignedinteger], count: int, scored_HW: NDArray[np.uint8], target_HW: NDArray[np.uint8]
) -> _Components:
    where = np.flatnonzero(numbers_HW > 0)
    component, label = numbers_HW.ravel()[where], scored_HW.ravel()[where]
    labels, true = np.zeros(count + 1, dtype=np.int64), np.zeros(count + 1, dtype=np.bool_)
    labels[component] = label
    true[component[target_HW.ravel()[where] == label]] = True
    sizes = np.bincount(component, minlength=count + 1)
    return _Components(labels[1:], sizes[1:], true[1:])


def _alarms(components: _Components, min_pixels: int) -> _Components:
    return components.where((components.sizes >= min_pixels) & ~components.true)


def _touching(above_2W: NDArray[np.int64], below_2W: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which components, by number from 1, are neighbours of one label in two lines, one below the other.

    Args:
        above_2W: Of each pixel the number of its component, 0 where there is none, and its label.
        below_2W: Likewise.

    Returns:
        (2, pairs).
    """
    width = above_2W.shape[1]
    pairs = []
    for across in (-1, 0, 1):
        upper, upper_label = above_2W[:, max(0, -across) : width - max(0, across)]
        lower, lower_label = below_2W[:, max(0, across) : width - max(0, -across)]
        one = (upper > 0) & (upper_label == lower_label)
        pairs.append(np.stack([upper[one], lower[one]]))
    return np.concatenate(pairs, axis=1)


def _join(components: _Components, touching_2P: NDArray[np.int64]) -> _Components:
    """Make one component of those that touch."""
    if not touching_2P.size:
        return components
    from scipy.sparse import coo_array  # takes longer to import than most images take
    from scipy.sparse.csgraph import connected_components

    count = len(components.labels)
    edges = coo_array((np.ones(touching_2P.shape[1]), tuple(touching_2P - 1)), shape=(count, count))
    count, joined = connected_components(edges, directed=False)
    whole = _Components(*(np.zeros(count, dtype=dtype) for dtype in (np.int64, np.int64, np.bool_)))
    whole.labels[joined] = components.labels
    np.add.at(whole.sizes, joined, components.sizes)
    whole.true[joined[components.true]] = True
    return whole
