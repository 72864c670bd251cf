"""Passes of evaluation that fit into memory: fewer images at once, then smaller tiles, where larger ones did not."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from trainable.config.user_class import in_one_line
from trainable.device import free_memory
from trainable.errors import InputError
from trainable.measure.tiles import DEFAULT_TILING, Tile, Tiling, tiles
from trainable.out_of_memory import is_out_of_memory, more_memory

_Result = TypeVar("_Result")

SMALLEST: Final = 256 * 256
"""Pixels of a view that is not divided further, where nothing is known of the network."""


class FittedTiles:
    """Covers images by tiles, and by smaller ones from there on where memory ran out.

    Fewer images at once change no count: a network in evaluation mode sees each alone, and only the last bits of its
    logits depend on their number. Smaller tiles do: a prediction beside a tile's border sees less of the image.

    Args:
        smallest: Pixels of a view that the network is known to run on, such as a crop; no smaller one is divided.
        tiling: To begin with.

    Attributes:
        tiling: The present one; it never grows again.
    """

    def __init__(self, smallest: int = SMALLEST, tiling: Tiling = DEFAULT_TILING) -> None:
        self.tiling = tiling
        self._smallest = smallest
        self._notes: list[str] = []

    def take_notes(self) -> tuple[str, ...]:
        """What the user should hear, once: that a view did not fit."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def cover(
        self, shapes: NDArray[np.int64], device: torch.device, work: Callable[[Iterator[Tile]], _Result]
    ) -> _Result:
        """Do some work on all tiles; where memory runs out, do all of it again on smaller ones.

        Args:
            shapes: int64 (images x 2), height and width.
            device: Of the network.
            work: Takes the tiles one by one. It keeps nothing between two calls, so that nothing is counted twice.

        Returns:
            What `work` returns when it has come to the end.

        Raises:
            InputError: Memory ran out on a view that cannot be divided.
        """
        divided: Tile | None = None
        while True:
            passes = _Passes(tiles(shapes, self.tiling))
            try:
                return work(passes)
            except Exception as error:  # whatever a network of the user's own raises
                if passes.last is None or isinstance(error, InputError | OSError):
                    raise
                if not is_out_of_memory(error):
                    if divided is None:
                        raise
                    raise _refusal(divided, f"and on smaller ones: {in_one_line(error)}", device) from error
            failed = passes.last
            # Not before the error is gone: its traceback holds the tensors of the failed pass.
            free_memory()
            if len(failed.positions) > 1:
                self._take_fewer(failed)
            else:
                self._divide(failed, device)
                divided = failed

    def _take_fewer(self, failed: Tile) -> None:
        before = len(failed.positions)
        after = (before + 1) // 2
        self.tiling = self.tiling.with_images(failed, after)
        self._notes.append(f"out of memory evaluating {before} images at once: from here on {after} at once")

    def _divide(self, failed: Tile, device: torch.device) -> None:
        if failed.window.height * failed.window.width <= self._smallest:
            raise _refusal(failed, "which are not divided further", device)
        self.tiling = self.tiling.divided(failed)
        self._notes.append(
            f"out of memory evaluating {_size(failed)} pixels at once: from here on in tiles of {self.tiling.side} "
            "pixels, which see less of what surrounds them: the scores are not quite those of whole images"
        )


class _Passes(Iterator[Tile]):
    """Tiles, and which came last."""

    def __init__(self, every: Iterator[Tile]) -> None:
        self._every = every
        self.last: Tile | None = None

    def __next__(self) -> Tile:
        self.last = next(self._every)
        return self.last


def _size(tile: Tile) -> str:
    return f"{tile.window.height}x{tile.window.width}"


def _refusal(failed: Tile, why: str, device: torch.device) -> InputError:
    return InputError(
        "an evaluation must fit into memory",
        f"out of memory on {_size(failed)} pixels, {why}",
        f"Use a smaller encoder, or {more_memory(device)}",
    )
