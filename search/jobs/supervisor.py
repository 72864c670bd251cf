"""The process that a job on a cluster consists of: it runs the driver of a search, and runs it again when it dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Final

from search.decide.confirm_plan import FOLDER as CONFIRM_FOLDER
from search.jobs.die_with_parent import ending_with_parent
from search.record.lease import SearchTakenError
from search.record.search_folder import read_meta
from search.run.stop_flag import STOP_SIGNALS, SUPERVISOR
from trainable.errors import InputError, SearchFaultError
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

_NOTHING_WORKED: Final = 1
_FINAL: Final = (0, _NOTHING_WORKED, InputError.exit_code)
"""Exit codes that another launch would not change."""

_LAST_LINES: Final = 12
_TICK_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Patience:
    """How long a supervisor waits, in seconds, and for how many failures.

    Attributes:
        first_wait: Before the first relaunch; doubled at each failure without progress.
        longest_wait: The most before a relaunch.
        failures: So many in a row without progress, and it gives up.
        stop: For a driver that was told to stop, before it is killed.
        taken: For another driver that lives, to end.
        taken_wait: Between two launches meanwhile.
    """

    first_wait: float = 5
    longest_wait: float = 60
    failures: int = 5
    stop: float = 60
    taken: float = 120
    taken_wait: float = 10


class Supervisor:
    """Runs a driver until its search is over, somebody stops it, or nothing helps.

    Args:
        command: Of the driver, without `--resume`.
        folder: The search's folder, whose record shows whether there is progress.
        resume: Whether the first launch resumes.
        hours: The time budget of all launches together, or None.
        patience: How long it waits, and how often.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Storage,
        *,
        resume: bool,
        hours: float | None = None,
        patience: Patience = Patience(),
    ) -> None:
        self._command = command
        self._folder = folder
        self._resume = resume
        self._deadline = None if hours is None else time.monotonic() + 3600 * hours
        self._patience = patience
        self._signal = 0
        self._launches = 0
        self._failures = 0
        self._progress: int | None = None
        self._taken_since: float | None = None
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    def run(self) -> int:
        """Run to the end.

        Returns:
            The driver's exit code; 128 + n where signal n ended it after the supervisor was told to stop.

        Raises:
            SearchFaultError: Launch after launch failed, and none got further than the one before.
        """
        with self._caught_signals():
            self._progress = self._recorded()
            while True:
                code = self._launch()
                if self._told_to_stop():
                    return code if code >= 0 else 128 - code
                if code in _FINAL or not self._wait_after(code):
                    return code
                if self._told_to_stop():
                    return 128 + self._signal

    def _told_to_stop(self) -> bool:
        return self._signal != 0

    def _wait_after(self, code: int) -> bool:
        """Wait before another launch; False where none would be any use."""
        if code == SearchTakenError.exit_code:
            return (self._resume or self._launches > 1) and self._wait_for_the_other()
        self._taken_since = None
        self._wait_after_failure(code)
        return True

    def _wait_for_the_other(self) -> bool:
        now = time.monotonic()
        if self._taken_since is None:
            self._taken_since = now
            _say(f"waiting for the other driver to end, {self._patience.taken:g} s at the most")
        if now - self._taken_since >= self._patience.taken:
            return False
        self._sleep(self._patience.taken_wait)
        return True

    def _wait_after_failure(self, code: int) -> None:
        progress = self._recorded()
        # What cannot be read shows no progress, and no loss of it either.
        advanced = progress is not None and progress > (self._progress or 0)
        self._failures = 0 if advanced else self._failures + 1
        self._progress = self._progress if progress is None else progress
        if self._failures >= self._patience.failures:
            raise self._fault(code)
        doubled = self._patience.first_wait * 2 ** max(self._failures - 1, 0)
        wait = min(doubled, self._patience.longest_wait)
        count = f", {self._failures} in a row without a new epoch" if self._failures > 1 else ""
        _say(f"the driver {_how(code)}{count}; starting it again in {wait:g} s")
        self._sleep(wait)

    def _fault(self, code: int) -> SearchFaultError:
        fault = SearchFaultError(
            f"a search must get on from launch to launch ({self._folder.url})",
            f"{self._failures} launches in a row without a new epoch, of which the last {_how(code)}",
            "Mend its cause and continue with --resume; nothing that was recorded is lost",
        )
        for line in ["the last that it said:", *self._last_lines]:
            fault.add_note(f"    {line}")
        return fault

    def _launch(self) -> int:
        self._launches += 1
        self._last_lines.clear()
        try:
            command = self._next_command()
        except SearchFaultError as fault:
            self._last_lines.append(str(fault))
            return SearchFaultError.exit_code
        environment = os.environ | {SUPERVISOR: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        # A group of its own: Ctrl-C in a terminal signals all of a group, and the driver is to get it once.
        child = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, errors="replace", env=environment, process_group=0
        )
        listener = threading.Thread(target=self._listen, args=(child.stderr,), daemon=True)
        listener.start()
        code = self._wait_for(child)
        listener.join(timeout=2)  # what the driver has started may hold its stderr for longer
        return code

    def _next_command(self) -> list[str]:
        relaunch = self._launches > 1
        # A launch that died before its search was written is begun again, not resumed.
        resume = self._resume or (relaunch and read_meta(self._folder) is not None)
        command = [*self._command, *(["--resume"] if resume else [])]
        if relaunch and self._deadline is not None:
            left = max(self._deadline - time.monotonic(), 1) / 3600
            command += ["--set", f"budget.hours={left:.6f}"]
        return command

    def _wait_for(self, child: "subprocess.Popen[str]") -> int:
        deadline = None
        while (code := child.poll()) is None:
            if self._told_to_stop() and deadline is None:
                child.send_signal(self._signal)
                deadline = time.monotonic() + self._patience.stop
            if deadline is not None and time.monotonic() >= deadline:
                _say(f"the driver did not end within {self._patience.stop:g} s: killing it")
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(_TICK_SECONDS)
        return code

    def _listen(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._last_lines.append(line.rstrip())
                with suppress(OSError, ValueError):  # a pipe that nobody reads would stop the driver
                    sys.stderr.write(line)
                    sys.stderr.flush()

    def _recorded(self) -> int | None:
        """Durable epochs and ended trials of search and confirmation, or None where the record cannot be read."""
        try:
            trials = [*load_trials(self._folder), *load_trials(self._folder.child(CONFIRM_FOLDER))]
        except SearchFaultError:
            return None
        return sum(len(trial.epochs) + (trial.end is not None) for trial in trials)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._told_to_stop() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _TICK_SECONDS))

    @contextmanager
    def _caught_signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self._signal = number

        caught = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, note) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def end_with_supervisor() -> None:
    """Have the kernel stop this process when its supervisor dies, however: no driver goes on that no job knows of.

    Linux alone has it; elsewhere nothing happens.
    """
    supervisor = int(os.environ[SUPERVISOR])
    if os.getppid() == supervisor:
        ending_with_parent()()
    try:
        os.kill(supervisor, 0)
    except ProcessLookupError:  # it died before we asked
        raise SystemExit(128 + signal.SIGTERM) from None


def _say(line: str) -> None:
    print(f"supervisor: {line}", flush=True)


def _how(code: int) -> str:
    """How a driver ended, in words."""
    if code >= 0:
        return f"exited with {code}"
    kill = ", as the kernel does when memory runs out" if -code == signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{kill}"
