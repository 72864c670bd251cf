"""Sessions of processes: all that a process began which was started with `start_new_session=True`. Linux alone."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from waiting import PATIENCE, wait_until


def programs_of(session: int) -> dict[int, str]:
    """The living processes of a session: the first words of their commands by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_text().strip("\0 ").split("\0")[0]
    return found


def wait_for_the_end_of(session: int, seconds: float = PATIENCE) -> None:
    """Until nothing of a killed driver's session works any more; then end Ray's two agents, which stay for a minute."""

    def working():
        return [program for program in programs_of(session).values() if not program.endswith("Agent")]

    wait_until(lambda: not working(), "the end of what a killed driver had started", seconds=seconds)
    for process in programs_of(session):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
