"""The batches of an epoch, drawn one ahead by a thread: the network trains on one while the next is drawn."""

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
        draw: `draw(step)` gives a batch; called by the thread alone, for one step at a time.
        steps: How many to draw, from step 0.

    Attributes:
        waited: Seconds that the loop has waited for batches that were not drawn yet.
    """

    def __init__(self, draw: Callable[[int], Batch], steps: int) -> None:
        self.waited = 0.0
        self._draw = draw
        self._steps = steps

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch-feed")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()  # after the batch that is being drawn: no other is in line

    def __iter__(self) -> Iterator[Batch]:
        ahead = self._thread.submit(self._draw, 0)
        for step in range(1, self._steps + 1):
            began = time.perf_counter()
            batch = ahead.result()
            self.waited += time.perf_counter() - began
            if step < self._steps:
                ahead = self._thread.submit(self._draw, step)
            yield batch
