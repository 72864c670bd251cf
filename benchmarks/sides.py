"""Both sides of a comparison, each in a process of its own, set up as its users have it.

In one process each would have what the other's memory settings and habits leave it: what a training step takes then
varies by half.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import torch

from trainable.device import ResourceShare, limit_process


class Sides(NamedTuple):
    """Processes that run what is submitted to them, a thing at a time.

    Attributes:
        ours: Set up as the process of a trial.
        peer: As Python starts it, but for the number of torch's threads.
    """

    ours: Executor
    peer: Executor


@contextlib.contextmanager
def two_sides(share: ResourceShare) -> Iterator[Sides]:
    """Start both, and stop them at the end; what is submitted must be a module's function."""
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(1, context, limit_process, (share,)) as ours,
        ProcessPoolExecutor(1, context, torch.set_num_threads, (max(1, int(share.cpus)),)) as peer,
    ):
        yield Sides(ours, peer)
