"""What evaluation shows the network: images at native resolution in batches of one size, large ones in tiles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Tiling:
    """How large a forward pass may be.

    Attributes:
        side: Of a tile in pixels, `TILE` where memory allows.
        overlap: What a tile sees beyond what is scored of it, in pixels; half of `side` at the most.
        batch_pixels: In one forward pass of several images.
    """

    side: int = TILE
    overlap: int = OVERLAP
    batch_pixels: int = BATCH_PIXELS

    def with_images(self, tile: Tile, count: int) -> "Tiling":
        """The tiling that takes so many images of this size at once."""
        return replace(self, batch_pixels=count * tile.window.height * tile.window.width)

    def divided(self, tile: Tile) -> "Tiling":
        """The tiling of the largest tiles that see this image, or tile of an image, in smaller parts."""
        height, width = tile.window.height, tile.window.width
        smaller = replace(self, side=self.side // 2, overlap=min(self.overlap, self.side // 4))
        whole = tile.keep == (slice(0, height), slice(0, width))
        return smaller.divided(tile) if whole and smaller.takes_whole(height, width) else smaller

    def takes_whole(self, height: int, width: int) -> bool:
        """Whether an image of this size is not divided."""
        return 2 * height * width <= 3 * self.side**2


DEFAULT_TILING: Final = Tiling()
"""Of a network that memory has room for."""


def tiles(shapes: NDArray[np.int64], tiling: Tiling = DEFAULT_TILING) -> Iterator[Tile]:
    """Cover images of the given shapes so that every pixel is scored exactly once.

    Args:
        shapes: int64 (images x 2), height and width.
        tiling: How large a pass may be.
    """
    order = sorted(range(len(shapes)), key=lambda position: (tuple(shapes[position]), position))
    for shape, group in groupby(order, key=lambda position: tuple(shapes[position])):
        height, width = int(shape[0]), int(shape[1])
        if tiling.takes_whole(height, width):
            yield from _whole(list(group), height, width, tiling)
        else:
            yield from _tiled(list(group), height, width, tiling)


def _whole(positions: Sequence[int], height: int, width: int, tiling: Tiling) -> Iterator[Tile]:
    size = max(1, tiling.batch_pixels // (height * width))
    for start in range(0, len(positions), size):
        yield Tile(
            tuple(positions[start : start + size]), Window(0, 0, height, width), (slice(0, height), slice(0, width))
        )


def _tiled(positions: Sequence[int], height: int, width: int, tiling: Tiling) -> Iterator[Tile]:
    for position in positions:
        for top, bottom, keep_rows in _spans(height, tiling):
            for left, right, keep_columns in _spans(width, tiling):
                yield Tile((position,), Window(top, left, bottom - top, right - left), (keep_rows, keep_columns))


def _spans(length: int, tiling: Tiling) -> Iterator[tuple[int, int, slice]]:
    """Begin and end of what a tile sees along one axis, and the part of it that is scored."""
    count = -(-length // tiling.side)
    edges = [round(part * length / count) for part in range(count + 1)]
    for begin, end in pairwise(edges):
        low, high = max(0, begin - tiling.overlap), min(length, end + tiling.overlap)
        yield low, high, slice(begin - low, end - low)
