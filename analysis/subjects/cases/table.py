"""Which dev images are looked at, chosen by rule from what was counted on them; and where in them to look.

Shapes: N images, C classes.
"""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainable.data.components import Objects
from trainable.measure.image_counts import ImageCounts

LEAST_EXTENT: Final = 32
"""Rows and columns that an enlarged part has at least: a thing is judged by what is around it."""

CONTEXT: Final = 3
"""How many times as wide and high as its object an enlarged part is."""


class Box(NamedTuple):
    """A rectangle of pixels; bottom and right are the first row and column after it."""

    top: int
    left: int
    bottom: int
    right: int


def image_ious(counts: ImageCounts) -> NDArray[np.float64]:
    """The IoU of each class in each image, (N, C), in 0..1; NaN where the class does not occur in the truth."""
    tp, fn, fp = np.moveaxis(counts.counts.astype(np.float64), 2, 0)
    ious: NDArray[np.float64] = np.full(tp.shape, np.nan)
    np.divide(tp, tp + fn + fp, out=ious, where=tp + fn > 0)
    return ious


def image_mious(counts: ImageCounts) -> NDArray[np.float64]:
    """Each image's own mIoU, (N,): the mean over the classes that occur in it; NaN where nothing is labelled.

    The recorded mIoU is another: it is made of the counts of all images together.
    """
    ious = image_ious(counts)
    occurring = (~np.isnan(ious)).sum(axis=1)
    mious: NDArray[np.float64] = np.full(len(ious), np.nan)
    np.divide(np.nansum(ious, axis=1), occurring, out=mious, where=occurring > 0)
    return mious


def best_images(counts: ImageCounts, most: int) -> tuple[int, ...]:
    """The images of the highest mIoU of their own, at most one a scene; ties by id.

    Args:
        counts: What the network did.
        most: Fewer where there are not so many scenes.

    Returns:
        Rows of the counts, the best first.
    """
    mious = image_mious(counts)
    rows = [int(row) for row in np.flatnonzero(~np.isnan(mious))]
    order = sorted(rows, key=lambda row: (-mious[row], counts.images[row]))
    return _one_a_scene(order, counts.scenes, most)


def worst_images(counts: ImageCounts, most: int, leave_out: Collection[int] = ()) -> tuple[int, ...]:
    """The images of the lowest mIoU of their own, at most one a scene; ties by id.

    Args:
        counts: What the network did.
        most: Fewer where there are not so many scenes.
        leave_out: Rows that are not chosen: where there are few images, the worst may be among the best.

    Returns:
        Rows of the counts, the worst first.
    """
    mious = image_mious(counts)
    rows = [int(row) for row in np.flatnonzero(~np.isnan(mious)) if row not in leave_out]
    order = sorted(rows, key=lambda row: (mious[row], counts.images[row]))
    return _one_a_scene(order, counts.scenes, most)


def found_at_least(counts: ImageCounts, other: ImageCounts) -> NDArray[np.int64]:
    """How many objects one network finds that another misses, at least, in each image and of each class, (N, C).

    Which objects were missed is not recorded, how many were is, by image, class and size: where the other misses 5 of
    a size and the one misses 3, it finds 2 of those 5 or more.

    Args:
        counts: What the one did.
        other: What the other did, on the same images.

    Raises:
        ValueError: If images, classes or truth differ.
    """
    _check_same_truth(counts, other)
    fewer = other.sized_objects[..., 1] - counts.sized_objects[..., 1]
    found: NDArray[np.int64] = np.maximum(fewer, 0).sum(axis=2)
    return found


def finding_images(counts: ImageCounts, other: ImageCounts, most: int) -> tuple[int, ...]:
    """The images in which one network finds the most objects that another misses, at most one a scene.

    Ties are broken by the pixels that it finds more of those classes, then by id.

    Args:
        counts: What the one did.
        other: What the other did, on the same images.
        most: Fewer where there are not so many scenes with such an object.

    Returns:
        Rows of the counts, the one with the most first; images without such an object are none.

    Raises:
        ValueError: If images, classes or truth differ.
    """
    found = found_at_least(counts, other)
    more_pixels = ((counts.counts[..., 0] - other.counts[..., 0]) * (found > 0)).sum(axis=1)
    objects = found.sum(axis=1)
    rows = [int(row) for row in np.flatnonzero(objects)]
    order = sorted(rows, key=lambda row: (-objects[row], -more_pixels[row], counts.images[row]))
    return _one_a_scene(order, counts.scenes, most)


def _one_a_scene(order: Sequence[int], scenes: Sequence[str], most: int) -> tuple[int, ...]:
    """The first row of each scene, in the given order."""
    first: dict[str, int] = {}
    for row in order:
        first.setdefault(scenes[row], row)
    return tuple(first.values())[:most]


def _check_same_truth(one: ImageCounts, other: ImageCounts) -> None:
    same_names = one.images == other.images and one.class_names == other.class_names
    if not (same_names and _truth(one) == _truth(other)):
        raise ValueError(
            "compared networks must be counted on the same images, classes and objects; two trials were not. "
            "Compare trials of one search."
        )


def _truth(counts: ImageCounts) -> tuple[bytes, bytes]:
    return counts.counts[..., :2].sum(axis=2).tobytes(), counts.sized_objects[..., 0].tobytes()


def object_box(objects: Objects, number: int, width: int) -> Box:
    """The rectangle around an object.

    Args:
        objects: Of an image.
        number: Which of them.
        width: Of the image, in pixels.
    """
    rows, columns = np.divmod(objects.pixels[objects.starts[number] : objects.starts[number + 1]], width)
    return Box(int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1)


def around(box: Box, height: int, width: int) -> Box:
    """The part of an image to enlarge: the object in its middle, of the image's own proportions, within the image.

    Args:
        box: Around the object.
        height: Of the image, in pixels.
        width: Of the image, in pixels.
    """
    scale = max(
        CONTEXT * (box.bottom - box.top) / height,
        CONTEXT * (box.right - box.left) / width,
        LEAST_EXTENT / min(height, width),
    )
    rows, columns = (max(1, min(side, round(scale * side))) for side in (height, width))
    top = min(max(0, (box.top + box.bottom - rows) // 2), height - rows)
    left = min(max(0, (box.left + box.right - columns) // 2), width - columns)
    return Box(top, left, top + rows, left + columns)
