"""The flag that ends a launch early: a signal, or the time budget."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SUPERVISOR: Final = "AEROSWEEP_SUPERVISOR"
"""Environment variable: the process id of the supervisor of this driver."""


class StopFlag:
    """Says whether a launch should end, and why.

    Args:
        hours: The time budget, or None.
    """

    def __init__(self, hours: float | None) -> None:
        self.deadline = None if hours is None else time.monotonic() + 3600 * hours
        self.signal: signal.Signals | None = None

    def reason(self) -> str | None:
        """Why to stop, or None."""
        if self.signal is not None:
            return self.signal.name
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "the time budget is spent"
        return None

    @contextmanager
    def caught_signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and SIGHUP (a closed terminal) raise the flag; a second one acts as without us.

        Under a supervisor a second one does nothing: `ray job stop` signals every process of the job, the supervisor
        passes it on, and kills what does not end.

        Enter after `ray.init`: handlers that are older than it never run. Outside of the main thread, where Python
        takes no handlers, nothing is caught.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # What is ignored stays so: `nohup` ignores SIGHUP.
        caught = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.getsignal(number) for number in caught}

        def raise_flag(number: int, frame: FrameType | None) -> None:
            self.signal = signal.Signals(number)
            if SUPERVISOR in os.environ:
                return
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in caught:
            signal.signal(number, raise_flag)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
