"""How much time passes on this machine: the only clock by which one driver judges another."""

import time
from typing import Final

# With the time that the machine sleeps: the leases of others run out meanwhile.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ElapsedTime:
    """Seconds since the machine was started, the same for all its processes; nobody can set it."""

    def now(self) -> float:
        """Seconds, of which differences alone have a meaning, and on one machine alone."""
        return time.clock_gettime(_CLOCK)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)
