"""Projections of the record: MLflow, the Optuna journal, what is kept on disk. They follow; they decide nothing."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Final, Protocol

from trainable.errors import InputError
from trainable.record.record_types import TrialSnapshot
from trainable.redaction import in_short

_LAST_RETRY_SECONDS: Final = 60.0

_SWITCH_SECONDS: Final = 0.0005
"""How long a thread may keep the interpreter that another waits for; by itself 5 ms. The driver's loop waits for Ray at
every turn, and each time it woke up it would wait that long for a projection that computes: a third of its time."""


class TrackerUnreachableError(Exception):
    """No trial at all can be projected at present, whichever is tried."""


class Projection(Protocol):
    """Something that is brought in line with the record, trial by trial.

    Attributes:
        name: For messages: "MLflow at http://...".
    """

    name: str

    def project(self, trial: TrialSnapshot) -> None:
        """Bring the projection of one trial up to date; called again with the same snapshot it changes nothing.

        Raises:
            TrackerUnreachableError: No other trial would fare better.
            Exception: Whatever keeps this one from it; in both cases the snapshot is offered again later.
        """
        ...


@dataclass
class _Backoff:
    """When a trial that failed may be tried again, on the monotonic clock, and the wait that comes after."""

    due: float
    next_delay: float


class BackgroundProjection:
    """A projection on a thread of its own: slow or down, it holds up nobody.

    Only the newest snapshot of a trial waits, since it includes the older ones. A trial that fails is tried again after
    a growing delay of its own: where one trial alone is refused, the others pass it by.

    Args:
        projection: What to run.
        say: Prints a line for the user; called from the thread.
        first_retry: Seconds until a trial that failed is tried again; doubled at each failure, up to a minute.
    """

    def __init__(self, projection: Projection, say: Callable[[str], None], first_retry: float = 2.0) -> None:
        self._projection = projection
        self._say = say
        self._first_retry = first_retry
        self._waiting: dict[str, TrialSnapshot] = {}
        self._failing: dict[str, _Backoff] = {}
        self._given_up: set[str] = set()
        self._busy: str | None = None
        self._closing = False
        self._stopped = False
        self._down = False
        self._changed = threading.Condition()
        sys.setswitchinterval(min(_SWITCH_SECONDS, sys.getswitchinterval()))
        self._thread = threading.Thread(target=self._run, name=f"projection-{projection.name}", daemon=True)
        self._thread.start()

    def offer(self, trial: TrialSnapshot) -> None:
        """Hand over the present state of a trial; returns at once."""
        with self._changed:
            self._waiting[trial.spec.trial_id] = trial
            self._changed.notify_all()

    def close(self, timeout: float) -> int:
        """Try once more what is waiting, for `timeout` seconds at the most, and stop.

        What then turns out to be unreachable is not tried for each trial: where nobody answers that takes minutes.

        Returns:
            How many trials are not up to date.
        """
        with self._changed:
            self._closing = True
            for backoff in self._failing.values():
                backoff.due = 0.0  # no more delays: this is the last chance
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and self._busy is None, timeout)
            left = {*self._waiting, *self._given_up, *([self._busy] if self._busy else [])}
            self._waiting.clear()
            self._stopped = True
            self._changed.notify_all()
        return len(left)

    def _run(self) -> None:
        while (trial := self._take()) is not None:
            try:
                self._projection.project(trial)
            except Exception as error:  # a tracker may raise anything; the search must not end for it
                self._failed(trial, error)
            else:
                self._succeeded(trial)

    def _take(self) -> TrialSnapshot | None:
        """The next trial that is due, waited for; None when there will be no more."""
        with self._changed:
            self._busy = None
            self._changed.notify_all()
            while not self._stopped:
                trial_id = self._due()
                if trial_id is not None:
                    self._busy = trial_id
                    return self._waiting.pop(trial_id)
                if self._closing and not self._waiting:
                    break
                self._changed.wait(self._seconds_until_due())
            return None

    def _due(self) -> str | None:
        now = time.monotonic()
        for trial_id in self._waiting:
            backoff = self._failing.get(trial_id)
            if backoff is None or backoff.due <= now:
                return trial_id
        return None

    def _seconds_until_due(self) -> float | None:
        due = [self._failing[trial_id].due for trial_id in self._waiting]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _failed(self, trial: TrialSnapshot, error: Exception) -> None:
        trial_id = trial.spec.trial_id
        with self._changed:
            if self._stopped:
                return  # nobody waits for it any more, nor for a line about it
            if self._closing:
                self._given_up.add(trial_id)
                if isinstance(error, TrackerUnreachableError):
                    self._given_up.update(self._waiting)
                    self._waiting.clear()
            else:
                self._waiting.setdefault(trial_id, trial)
                before = self._failing.get(trial_id)
                delay = before.next_delay if before else self._first_retry
                self._failing[trial_id] = _Backoff(time.monotonic() + delay, min(2 * delay, _LAST_RETRY_SECONDS))
        if not self._down:
            self._down = True
            self._say(
                f"{self._projection.name} does not take records ({reason(error)}); "
                "the search goes on and fills in what is missing later"
            )

    def _succeeded(self, trial: TrialSnapshot) -> None:
        with self._changed:
            self._failing.pop(trial.spec.trial_id, None)
            self._given_up.discard(trial.spec.trial_id)
            recovered = self._down and not self._failing and not self._given_up and not self._stopped
        if recovered:
            self._down = False
            self._say(f"{self._projection.name} takes records again")


def within(seconds: float, act: Callable[[], object]) -> None:
    """Do something on a thread of its own, and wait so long for it.

    Raises:
        TimeoutError: It has not come to an end, and is left to itself.
        Exception: Whatever it raised.
    """
    outcome: Future[object] = Future()

    def run() -> None:
        try:
            outcome.set_result(act())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    if not wait([outcome], seconds).done:
        raise TimeoutError(f"no end after {seconds:g} s")
    outcome.result()


def reason(error: BaseException) -> str:
    """An error in one short line: where it quotes the error that it came from, that one, which says what is wrong."""
    while not isinstance(error, InputError):
        below = error.__cause__ or error.__context__
        if below is None or not str(below) or str(below) not in str(error):
            break
        error = below
    text, kind = in_short(error), type(error).__name__
    return text if text == kind or isinstance(error, InputError) else f"{kind}: {text}"
