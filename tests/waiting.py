"""Waiting for what has to happen: as long as it takes on a slow machine, and not a moment longer than it can happen."""

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds. It bounds what hangs, and says nothing about how fast a thing should be."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    *,
    unless: Callable[[], str] = lambda: "",
    seconds: float = PATIENCE,
    every: float = 0.1,
) -> T:
    """Wait until a condition is true and return its value.

    Args:
        condition: Looked at again and again.
        what: For the message.
        unless: A reason why it can no longer come true, at which the wait fails; empty as long as there is none.
        seconds: The bound.
        every: Seconds between two looks.
    """
    deadline = time.monotonic() + seconds
    while True:
        too_late = unless()
        if value := condition():  # after `unless`: the last thing that happened may be the one
            return value
        assert not too_late, f"{what} cannot happen any more: {too_late}"
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        time.sleep(every)


def has_ended(process: "subprocess.Popen", said: Callable[[], str] = lambda: "") -> Callable[[], str]:
    """For `unless`: that a process has ended, and what it said."""
    return lambda: "" if process.poll() is None else f"the process ended with {process.returncode}; {said()}"
