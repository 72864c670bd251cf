"""How much of each mask every class is, and where things lie: all masks of an image set in one pass."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.data.files.masks import decode_mask
from trainable.data.files.pictures import UNDECODABLE
from trainable.data.image_cache import ImageCache, Progress
from trainable.data.image_set import ImageSet, MaskEncoding
from trainable.errors import InputError

MOST_CELLS: Final = 1280 * 720
"""Cells of the grid that positions are counted on: 3.7 MB a thing class."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskStatistics:
    """What all masks of an image set hold; N images, C classes, T thing classes.

    Attributes:
        thing_labels: Labels of the thing classes, ascending, (T,).
        pixel_counts: int64 (N, C), pixels of each class in each mask; ignored pixels are left out.
        thing_ninths: int64 (N, T, 3, 3), pixels of each thing class in each ninth of each mask: rows top to bottom.
        presence: float32 (T, H, W), sum over the masks of the share, in 0..1, of each cell of a grid that is the
            class. Where all masks are as large as the grid a cell is a pixel and this is a number of masks. Other masks
            are stretched to the grid: a cell is the mean of the pixels whose middle lies in it.
        shapes: int64 (N, 2), height and width of each mask.
    """

    thing_labels: tuple[int, ...]
    pixel_counts: NDArray[np.int64]
    thing_ninths: NDArray[np.int64]
    presence: NDArray[np.float32]
    shapes: NDArray[np.int64]

    @property
    def images(self) -> int:
        """How many masks were counted."""
        return len(self.shapes)

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the grid that `presence` is counted on."""
        height, width = self.presence.shape[1:]
        return height, width

    @property
    def sizes_differ(self) -> bool:
        """Whether the masks have more than one size."""
        return bool((self.shapes != self.shapes[0]).any())

    @property
    def resampled(self) -> bool:
        """Whether some mask is not of the grid's size."""
        return bool((self.shapes != self.grid).any())


def count_masks(image_set: ImageSet, on_progress: Progress | None = None) -> MaskStatistics:
    """Count the mask files of an image set; images are not decoded, nothing is written.

    Args:
        image_set: The set.
        on_progress: Called with (masks done, masks in all).

    Raises:
        InputError: There is no mask, or one cannot be decoded.
    """
    shapes = [_mask_shape(sample.mask, image_set.encoding) for sample in image_set]

    def read(index: int) -> _Mask:
        labels_HW = decode_mask(image_set.samples[index].mask, image_set.encoding)
        return _find_things(labels_HW, image_set.thing_labels, len(image_set.classes))

    return _count(image_set, shapes, read, on_progress)


def count_cached_masks(image_set: ImageSet, cache: ImageCache, on_progress: Progress | None = None) -> MaskStatistics:
    """Count the masks of a cache: the same numbers as `count_masks`, out of its objects, without reading its masks.

    Args:
        image_set: The set that the cache is of.
        cache: Its decoded masks.
        on_progress: Called with (masks done, masks in all).

    Raises:
        InputError: There is no mask.
    """
    rows = _thing_rows(image_set.thing_labels)

    def read(index: int) -> _Mask:
        objects = cache.objects(index)
        height, width = (int(side) for side in cache.shapes[index])
        things = np.repeat(rows[objects.labels], objects.sizes)
        return _Mask((height, width), cache.pixel_counts[index], things, objects.pixels)

    return _count(image_set, [(int(h), int(w)) for h, w in cache.shapes], read, on_progress)


@dataclass(frozen=True)
class _Mask:
    """What is counted of one mask.

    Attributes:
        shape: Height and width.
        pixel_counts: Pixels of each class, (C,).
        things: For each thing pixel which of the thing classes it is, from 0.
        positions: Its flat position, row * width + column.
    """

    shape: tuple[int, int]
    pixel_counts: NDArray[np.int64]
    things: NDArray[np.intp]
    positions: NDArray[np.integer]


@dataclass(frozen=True)
class _Part:
    """What one mask adds: `shares` at the flat `cells` of `presence`."""

    pixel_counts: NDArray[np.int64]
    thing_ninths: NDArray[np.int64]
    cells: NDArray[np.intp]
    shares: NDArray[np.float32]


def _count(
    image_set: ImageSet,
    shapes: list[tuple[int, int]],
    read: Callable[[int], _Mask],
    on_progress: Progress | None,
) -> MaskStatistics:
    if not shapes:
        raise InputError("an image set must have an image", "none", "Correct its lists or its description")
    things, grid = len(image_set.thing_labels), choose_grid(np.array(shapes, dtype=np.int64))
    pixel_counts = np.zeros((len(shapes), len(image_set.classes)), dtype=np.int64)
    thing_ninths = np.zeros((len(shapes), things, 3, 3), dtype=np.int64)
    presence = np.zeros((things, *grid), dtype=np.float32)
    flat_presence = presence.reshape(-1)
    parts = _run_ahead(lambda index: _place(read(index), grid, things), len(shapes))
    for index, part in enumerate(parts):
        pixel_counts[index] = part.pixel_counts
        thing_ninths[index] = part.thing_ninths
        flat_presence[part.cells] += part.shares  # no cell comes twice
        if on_progress is not None:
            on_progress(index + 1, len(shapes))
    return MaskStatistics(
        thing_labels=image_set.thing_labels,
        pixel_counts=pixel_counts,
        thing_ninths=thing_ninths,
        presence=presence,
        shapes=np.array(shapes, dtype=np.int64),
    )


def choose_grid(shapes: NDArray[np.int64]) -> tuple[int, int]:
    """Choose the grid that positions are counted on: the median height and width, of `MOST_CELLS` at most.

    Args:
        shapes: Height and width of each mask, (N, 2), N > 0.

    Returns:
        Height and width of the grid.
    """
    height, width = np.median(shapes, axis=0)
    scale = min(1.0, (MOST_CELLS / (height * width)) ** 0.5)
    return max(1, int(height * scale)), max(1, int(width * scale))


def _run_ahead(work: Callable[[int], _Part], count: int) -> Iterator[_Part]:
    """Do the work with all cores, two masks a core ahead at most; threads do, since Pillow and numpy let each other."""
    workers = os.cpu_count() or 1
    ahead: deque[Future[_Part]] = deque()
    with ThreadPoolExecutor(max_workers=workers) as threads:
        for index in range(count):
            ahead.append(threads.submit(work, index))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _mask_shape(path: Path, encoding: MaskEncoding) -> tuple[int, int]:
    """Height and width by the mask's header."""
    try:
        with Image.open(path) as mask:
            return mask.height, mask.width
    except UNDECODABLE:
        height, width = decode_mask(path, encoding).shape  # says what is wrong with it
        return height, width


def _thing_rows(thing_labels: tuple[int, ...]) -> NDArray[np.intp]:
    """Table from label to place among the thing classes, -1 for others, (256,)."""
    rows = np.full(256, -1, dtype=np.intp)
    rows[list(thing_labels)] = np.arange(len(thing_labels))
    return rows


def _find_things(labels_HW: NDArray[np.uint8], thing_labels: tuple[int, ...], classes: int) -> _Mask:
    # Pillow's histogram takes a third of the time of numpy's bincount, which copies to 64 bits first.
    counts = np.array(Image.fromarray(labels_HW).histogram()[:classes], dtype=np.int64)
    height, width = labels_HW.shape
    rows = _thing_rows(thing_labels)
    positions = np.flatnonzero((rows >= 0).take(labels_HW))
    return _Mask((height, width), counts, rows[labels_HW.ravel()[positions]], positions)


def _place(mask: _Mask, grid: tuple[int, int], things: int) -> _Part:
    rows, columns = np.divmod(mask.positions, mask.shape[1])
    ninth = rows.astype(np.int64) * 3 // mask.shape[0] * 3 + columns.astype(np.int64) * 3 // mask.shape[1]
    ninths = np.bincount(mask.things * 9 + ninth, minlength=9 * things).reshape(things, 3, 3)
    if mask.shape == grid:
        cells = mask.things * (grid[0] * grid[1]) + mask.positions
        shares = np.ones(len(cells), dtype=np.float32)
    else:
        cells, shares = _resample(mask, grid)
    return _Part(mask.pixel_counts, ninths, cells, shares)


def _resample(mask: _Mask, grid: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Stretch each thing class of a mask to the grid."""
    cells, shares = [np.zeros(0, dtype=np.intp)], [np.zeros(0, dtype=np.float32)]
    for thing in np.flatnonzero(np.bincount(mask.things)):
        plane = np.zeros(mask.shape, dtype=np.float32)
        plane.reshape(-1)[mask.positions[mask.things == thing]] = 1
        stretched = Image.fromarray(plane).resize(grid[::-1], Image.Resampling.BOX)
        flat = np.asarray(stretched, dtype=np.float32).ravel()
        covered = np.flatnonzero(flat)
        cells.append(thing * flat.size + covered)
        shares.append(flat[covered])
    return np.concatenate(cells), np.concatenate(shares)
