"""Ray Tune's three hooks as thin adaptors: it asks the conductor what to run, tells it what came back, and obeys.

Tune pickles its hooks into snapshots that nobody reads: each drops the conductor when it is pickled.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.conductor import Conductor
from search.stop import StopFlag
from trainable.errors import SearchFaultError
from trainable.ray_trainable import FAULT, NOTES, RECORD, REFUSAL, TRIAL_ID
from trainable.trial_record import EpochRecord, TrialCard

_OBJECTIVE: Final = "objective"
_LONGEST_REASON: Final = 500


class SearchStopped(BaseException):
    """Leaves Tune's loop at once: it catches exceptions, but what is durable needs none of its clean-up.

    Args:
        fault: Why the search as a whole cannot go on, or None where somebody asked it to stop.
    """

    def __init__(self, fault: SearchFaultError | None = None) -> None:
        super().__init__(fault)
        self.fault = fault


@contextmanager
def leaving_tune() -> Iterator[None]:
    """Let a fault of the search end it: Tune would blame the trial that it is busy with."""
    try:
        yield
    except SearchFaultError as fault:
        raise SearchStopped(fault) from fault


class RecordSearcher(Searcher):  # type: ignore[misc]  # Ray ships no types
    """Hands the conductor's trials to Tune.

    Args:
        conductor: Decides.
        assignment: Turns a trial's card into the config that the trainable is given.
    """

    def __init__(self, conductor: Conductor, assignment: Callable[[TrialCard], dict[str, Any]]) -> None:
        super().__init__(metric=_OBJECTIVE, mode="max")
        self._conductor = conductor
        self._assignment = assignment

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial's config, or FINISHED."""
        with leaving_tune():
            card = self._conductor.next_trial()
        finished: str = Searcher.FINISHED
        return finished if card is None else self._assignment(card)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the conductor ended the trial when its last epoch came in."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the record is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a launch begins from the record."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class RecordScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes each durable epoch to the conductor and stops the trials that it ends.

    Args:
        conductor: Decides.
        say: Prints a line for the user.
    """

    def __init__(self, conductor: Conductor, say: Callable[[str], None]) -> None:
        super().__init__()
        self._conductor = conductor
        self._say = say

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP where the trial has ended."""
        trial_id = trial.config[TRIAL_ID]
        for note in json.loads(result.get(NOTES, "[]")):
            self._say(f"{trial_id}: {note}")
        with leaving_tune():
            if REFUSAL in result:
                self._conductor.trial_failed(trial_id, result[REFUSAL])
                goes_on = False
            else:
                goes_on = self._conductor.epoch_done(trial_id, trial_epoch(result))
        decision: str = TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
        return decision

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverCallback(Callback):  # type: ignore[misc]
    """Failures, hung trials, the stop flag and the view: what Tune's loop is asked at every turn.

    Args:
        conductor: Is told of failures.
        stop: Asked at every turn.
        require_held: Asked at every turn; raises SearchFaultError where another driver has taken over.
        epoch_timeout: Seconds without a new epoch after which a trial's process is killed, to be retried.
        show: Called at every turn.
    """

    def __init__(
        self,
        conductor: Conductor,
        stop: StopFlag,
        require_held: Callable[[], None],
        epoch_timeout: float,
        show: Callable[[], None],
    ) -> None:
        self._conductor = conductor
        self._stop = stop
        self._require_held = require_held
        self._epoch_timeout = epoch_timeout
        self._show = show
        self._heard: dict[str, float] = {}
        self._hung: set[str] = set()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Stop, kill what hangs, show."""
        if self._stop.reason() is not None:
            raise SearchStopped
        with leaving_tune():
            self._require_held()
        self._kill_hung(trials)
        self._show()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's clock starts."""
        self._heard[trial.trial_id] = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It starts again with the retry."""
        self._heard[trial.trial_id] = time.monotonic()
        self._hung.discard(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """It starts again with each epoch."""
        self._heard[trial.trial_id] = time.monotonic()

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It no longer matters."""
        self._heard.pop(trial.trial_id, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """All attempts of a trial have failed."""
        self._heard.pop(trial.trial_id, None)
        with leaving_tune():
            self._conductor.trial_failed(trial.config[TRIAL_ID], self._why(trial))

    def _why(self, trial: Trial) -> str:
        if trial.trial_id in self._hung:
            minutes = self._epoch_timeout / 60
            return f"it hung: no epoch within {minutes:g} minutes (runtime.epoch_timeout_minutes)"
        return failure_reason(failure_text(trial))

    def _kill_hung(self, trials: list[Trial]) -> None:
        now = time.monotonic()
        for trial in trials:
            heard = self._heard.get(trial.trial_id)
            if trial.status != Trial.RUNNING or heard is None or now - heard < self._epoch_timeout:
                continue
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                self._heard[trial.trial_id] = now
                self._hung.add(trial.trial_id)
                ray.kill(actor)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def trial_epoch(result: dict[str, Any]) -> EpochRecord:
    """The epoch record that a result of Tune's carries.

    Raises:
        SearchFaultError: It carries why the search cannot go on.
    """
    if FAULT in result:
        raise SearchFaultError(*json.loads(result[FAULT]))
    return EpochRecord(**json.loads(result[RECORD]))


def failure_text(trial: Trial) -> str:
    """What Tune wrote of a trial's failures on this machine."""
    path = trial.error_file
    return Path(path).read_text(errors="replace") if path and Path(path).exists() else ""


def failure_reason(text: str) -> str:
    """One line that says why a trial failed.

    Args:
        text: Tune's account of its failures, the last one last.
    """
    last = re.split(r"^Failure # \d+ .*$", text, flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    if not lines:
        return "its process ended without a reason"
    if lines[0].startswith("The actor died"):
        return f"its process died: {lines[-1]}"[:_LONGEST_REASON]
    return lines[-1][:_LONGEST_REASON]
