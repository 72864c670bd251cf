"""A driver's process, told from those of other machines and containers, and from a later one with the same id."""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

_LARGEST_PID: Final = 2**31 - 1
_ENDED_STATES: Final = ("Z", "X")


@dataclass(frozen=True)
class DriverProcess:
    """A process.

    Attributes:
        host: Name of its machine, for people: several may have the same.
        pid: Its id.
        machine: Between two starts of one machine, the same for all whose clock is the same; None where unknown.
        pids: Where ids are the same process's: containers of one machine have ids of their own; None where unknown.
        started: Ticks from the machine's start to its own: an id goes to another process later; None where unknown.
    """

    host: str
    pid: int
    machine: str | None = None
    pids: str | None = None
    started: int | None = None

    @classmethod
    def current(cls) -> Self:
        """This process."""
        pid, host = os.getpid(), socket.gethostname()
        if not sys.platform.startswith("linux"):
            return cls(host, pid, f"name {host}", f"name {host}")
        boot, clock = _line("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/time")
        state = _state(pid)
        machine = None if boot is None else f"{boot} {clock}"
        return cls(host, pid, machine, _link("/proc/self/ns/pid"), None if state is None else state[1])

    @classmethod
    def parsed(cls, facts: Mapping[str, Any]) -> Self:
        """The process that a file tells of.

        Raises:
            ValueError, TypeError, KeyError: The file tells of none.
        """
        host, pid = str(facts["host"]), int(facts["pid"])
        if not 0 < pid <= _LARGEST_PID:
            raise ValueError(f"{pid} is no process's id")
        machine, pids, started = (facts.get(key) for key in ("machine", "pids", "started"))
        return cls(host, pid, machine, pids, started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def facts(self) -> dict[str, Any]:
        """What `parsed` reads."""
        return asdict(self)

    def shares_clock(self, here: "DriverProcess") -> bool:
        """Whether its clock is that of the process `here`."""
        return self.machine is not None and self.machine == here.machine

    def has_ended(self, here: "DriverProcess") -> bool:
        """Whether it is known to have ended; of a process elsewhere nothing is known.

        Args:
            here: The process that asks.
        """
        if not self.shares_clock(here) or self.pids is None or self.pids != here.pids:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and somebody else's
        state = _state(self.pid)
        if state is None or self.started is None:
            return False
        return state[0] in _ENDED_STATES or state[1] != self.started


def _state(pid: int) -> tuple[str, int] | None:
    """A process's state (a letter) and start (ticks since the machine's start), or None where Linux does not say."""
    stat = _line(f"/proc/{pid}/stat")
    if stat is None:
        return None
    # proc_pid_stat(5): the name, in brackets, may hold anything; state and start are the 3rd and the 22nd field.
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _line(path: str) -> str | None:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return str(Path(path).readlink())
    except OSError:
        return None
