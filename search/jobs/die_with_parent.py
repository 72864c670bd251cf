"""A process that is not to outlive the one that started it, however that one ends."""

import ctypes
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def ending_with_parent() -> Callable[[], None]:
    """What a process calls to be sent SIGTERM when its parent dies; Linux alone can, elsewhere it does nothing.

    Made before a fork, so that it may be called after it.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
