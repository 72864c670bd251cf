"""The batches of an epoch; for a GPU drawn one ahead by threads: it trains on one while the next is drawn."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]

Each = Callable[[Callable[[int], None], Iterable[int]], Iterable[None]]
"""`map`, or the same by several threads."""


class BatchFeed:
    """Hands out batches in order; a context that ends its threads, however it is left.

    Beside the batch that was handed out at most one other is in memory. What drawing raises is raised where that batch
    would have been handed out.

    Args:
        draw: `draw(step, each)` gives a batch, made by `each(make, places)`; called for one step at a time.
        steps: How many to draw, from step 0.
        threads: How many draw a batch while the loop is busy with the one before; 0: the loop draws. Where the CPU
            trains that is best: the network wants all cores (a thread that drew for it, and brought maths threads of
            its own, cost a fifth of a step on two).

    Attributes:
        waited: Seconds that the loop has waited for batches that were not drawn yet.
    """

    def __init__(self, draw: Callable[[int, Each], Batch], steps: int, *, threads: int) -> None:
        self.waited = 0.0
        self._draw = draw
        self._steps = steps
        self._threads = threads
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._threads > 0:
            # A thread a crop: maths threads within a crop would rather stand in each other's way.
            drawers = ThreadPoolExecutor(self._threads, "batch-feed-crops", torch.set_num_threads, (1,))
            self._each: Each = self._open.enter_context(drawers).map
            self._ahead = self._open.enter_context(ThreadPoolExecutor(1, "batch-feed"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open.close()  # after the batch that is being drawn: no other is in line

    def __iter__(self) -> Iterator[Batch]:
        drawn = self._begin(0)
        for step in range(1, self._steps + 1):
            began = time.perf_counter()
            batch = drawn()
            self.waited += time.perf_counter() - began
            if step < self._steps:
                drawn = self._begin(step)
            yield batch

    def _begin(self, step: int) -> Callable[[], Batch]:
        if self._threads == 0:
            return functools.partial(self._draw, step, map)
        return self._ahead.submit(self._draw, step, self._each).result
