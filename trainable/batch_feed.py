"""The batches of an epoch; for a GPU drawn one ahead by a thread: it trains on one while the next is drawn."""

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from torch import Tensor

Batch = tuple[Tensor, Tensor]


class BatchFeed:
    """Hands out batches in order; a context that ends its thread, however it is left.

    Beside the batch that was handed out at most one other is in memory. What drawing raises is raised where that batch
    would have been handed out.

    Args:
        draw: `draw(step)` gives a batch; called for one step at a time.
        steps: How many to draw, from step 0.
        ahead: Whether a thread draws. Where the CPU trains it does not pay: the thread brings maths threads of its own,
            and in the way of the network's they cost a fifth of a step (measured on two cores).

    Attributes:
        waited: Seconds that the loop has waited for batches that were not drawn yet.
    """

    def __init__(self, draw: Callable[[int], Batch], steps: int, *, ahead: bool) -> None:
        self.waited = 0.0
        self._draw = draw
        self._steps = steps
        self._ahead = ahead

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch-feed")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()  # after the batch that is being drawn: no other is in line

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
        if not self._ahead:
            return functools.partial(self._draw, step)
        return self._thread.submit(self._draw, step).result
