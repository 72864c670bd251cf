"""What it looks like when memory runs out, and what a user can do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from trainable.errors import InputError

_WORDS: Final = (
    "DefaultCPUAllocator: can't allocate memory",
    "STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
"""What torch says where it does not raise its OutOfMemoryError: on the CPU, in cuDNN and cuBLAS, in the driver."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this was raised because there was no memory, by torch, by NumPy or by what torch had compiled."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    known = isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    return known or (error.__cause__ is not None and is_out_of_memory(error.__cause__))


def more_memory(device: torch.device) -> str:
    """How a trial gets more of it, as the end of a remedy."""
    if device.type == "cuda":
        return "give a trial more of the GPU (resources.gpus_per_trial, 1 at the most)"
    return "run fewer trials at once (resources.max_concurrent)"


@contextmanager
def required_to_fit(what: str, device: torch.device) -> Iterator[None]:
    """Refuse the trial where memory runs out inside, in something of which nothing smaller can be tried.

    Args:
        what: Subject of the rule, such as "an optimizer's state".
        device: Of the trial.

    Raises:
        InputError: Memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = f"Use a smaller encoder, or {more_memory(device)}"
        raise InputError(f"{what} must fit into memory", "out of memory", remedy) from error
