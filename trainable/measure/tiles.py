"""What evaluation shows the network: images at native resolution in batches of one size, large ones in tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainable.batches.crops import Window

TILE: Final = 1024
"""Side of a tile in pixels; an image of at most 1.5 times its area is not tiled."""

OVERLAP: Final = 128
"""Pixels that a tile sees beyond what is scored of it on every inner side: a border's prediction lacks context."""

BATCH_PIXELS: Final = 1280 * 720
"""Pixels in one forward pass at most, tiles aside: small images go through together."""


@dataclass(frozen=True)
class Tile:
    """One forward pass.

    Attributes:
        positions: Which images, as positions in the split.
        window: What the network sees of each.
        keep: The part of the window that is scored, rows and columns.
    """

    positions: tuple[int, ...]
    window: Window
    keep: tuple[slice, slice]


def tiles(shapes: NDArray[np.int64]) -> Iterator[Tile]:
    """Cover images of the given shapes so that every pixel is scored exactly once.

    Args:
        shapes: int64 (images x 2), height and width.
    """
    order = sorted(range(len(shapes)), key=lambda position: (tuple(shapes[position]), position))
    for shape, group in groupby(order, key=lambda position: tuple(shapes[position])):
        height, width = int(shape[0]), int(shape[1])
        if height * width > 1.5 * TILE * TILE:
            yield from _tiled(list(group), height, width)
        else:
            yield from _whole(list(group), height, width)


def _whole(positions: Sequence[int], height: int, width: int) -> Iterator[Tile]:
    size = max(1, BATCH_PIXELS // (height * width))
    for start in range(0, len(positions), size):
        yield Tile(
            tuple(positions[start : start + size]), Window(0, 0, height, width), (slice(0, height), slice(0, width))
        )


def _tiled(positions: Sequence[int], height: int, width: int) -> Iterator[Tile]:
    for position in positions:
        for top, bottom, keep_rows in _spans(height):
            for left, right, keep_columns in _spans(width):
                yield Tile((position,), Window(top, left, bottom - top, right - left), (keep_rows, keep_columns))


def _spans(length: int) -> Iterator[tuple[int, int, slice]]:
    """Begin and end of what a tile sees along one axis, and the part of it that is scored."""
    count = -(-length // TILE)
    edges = [round(part * length / count) for part in range(count + 1)]
    for begin, end in pairwise(edges):
        low, high = max(0, begin - OVERLAP), min(length, end + OVERLAP)
        yield low, high, slice(begin - low, end - low)
