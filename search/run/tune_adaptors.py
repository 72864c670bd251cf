"""Ray Tune's three hooks as thin adaptors: it asks the conductor what to run, tells it what came back, and obeys.

Tune pickles its hooks into snapshots that nobody reads: each drops the conductor when it is pickled.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.decide.conductor import Conductor
from search.run.capacity import Capacity
from search.run.lost_machines import LostMachines
from trainable.errors import SearchFaultError
from trainable.ray_trainable import FAULT, NOTES, RECORD, REFUSAL, TRIAL_ID
from trainable.record.record_types import EpochRecord, TrialSpec

_OBJECTIVE: Final = "objective"
_LONGEST_REASON: Final = 500

_NEVER_RAN: Final = "The actor never ran"
_ENDED: Final = re.compile(r"its worker process has died|it was killed by `ray\.kill`")
_MOST_GIVEN_UP: Final = 5
"""Starts in a row of one trial that Ray gave up before they ran."""


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
    """Hands the conductor's trials to Tune, when there is a place for them.

    Args:
        conductor: Decides which.
        capacity: Says when.
        assignment: Turns a trial's spec into the config that the trainable is given.
        turn: What is to be done at every turn: Tune's loop has none as long as no trial is alive.
    """

    def __init__(
        self,
        conductor: Conductor,
        capacity: Capacity,
        assignment: Callable[[TrialSpec], dict[str, Any]],
        turn: Callable[[], None],
    ) -> None:
        super().__init__(metric=_OBJECTIVE, mode="max")
        self._conductor = conductor
        self._capacity = capacity
        self._assignment = assignment
        self._turn = turn

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's config, None as long as there is none to hand out, or FINISHED.

        Tune never asks again after FINISHED, and a trial that runs may yet have to be started once more.
        """
        with leaving_tune():
            if not self._conductor.running:
                self._turn()
            spec = self._conductor.next_trial() if self._capacity.free else None
        if spec is not None:
            return self._assignment(spec)
        finished: str = Searcher.FINISHED
        return None if self._conductor.running or self._conductor.awaiting else finished

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

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """None in particular.

        Tune would give the oldest that waits the warm process that has just come free, and cancel the process that is
        being started for it: the places of a new machine would not fill as long as trials end early.
        """

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverCallback(Callback):  # type: ignore[misc]
    """Failures, hung trials and whatever else is to be done again and again: what Tune's loop is asked at every turn.

    Args:
        conductor: Is told of failures.
        lost: Tells the loss of a machine from a failure.
        epoch_timeout: Seconds without a new epoch after which a trial's process is killed, to be started again.
        turn: Called at every turn; returns whether to go on.
    """

    def __init__(
        self, conductor: Conductor, lost: LostMachines, epoch_timeout: float, turn: Callable[[], bool]
    ) -> None:
        self._conductor = conductor
        self._lost = lost
        self._epoch_timeout = epoch_timeout
        self._turn = turn
        self._heard: dict[Trial, float] = {}
        self._hung: set[str] = set()
        self._given_up: Counter[str] = Counter()

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Kill what hangs, and what else a turn does."""
        with leaving_tune():
            self.turn()
        self._kill_hung()

    def turn(self) -> None:
        """What is to be done again and again.

        Raises:
            SearchStopped: The search is to end.
        """
        if not self._turn():
            raise SearchStopped
        self._lost.look()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's clock starts."""
        self._heard[trial] = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """It starts again with each epoch."""
        self._heard[trial] = time.monotonic()
        self._given_up.pop(trial.config[TRIAL_ID], None)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It no longer matters."""
        self._heard.pop(trial, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's process has died or raised, or its machine was lost."""
        self._heard.pop(trial, None)
        trial_id, account = trial.config[TRIAL_ID], failure_text(trial)
        lost, given_up = self._lost.is_one(account), was_given_up(account)
        counted = not (lost or given_up)
        suspected = counted and self._lost.may_be_one(account)
        with leaving_tune():
            failure = self._conductor.attempt_failed(trial_id, self._why(trial, account), counted, suspected)
            self._require_a_process(trial_id, given_up and not lost)
        if suspected:
            self._lost.suspect(trial_id, failure, account)

    def _require_a_process(self, trial_id: str, given_up: bool) -> None:
        """End a search whose cluster starts nothing: no trial is to blame, and trying for ever would say nothing."""
        self._given_up[trial_id] = self._given_up[trial_id] + 1 if given_up else 0
        if self._given_up[trial_id] == _MOST_GIVEN_UP:
            raise SearchFaultError(
                "Ray must be able to start the processes of trials",
                f"{_MOST_GIVEN_UP} starts of {trial_id} that it gave up before they ran",
                "See that this process, the cluster and all its machines have the same RAY_AUTH_MODE and token, and "
                "look into the logs of its head (/tmp/ray/session_latest/logs/gcs_server.out); then continue with "
                "--resume",
            )

    def _why(self, trial: Trial, account: str) -> str:
        if trial.trial_id in self._hung:
            minutes = self._epoch_timeout / 60
            return f"it hung: no epoch within {minutes:g} minutes (runtime.epoch_timeout_minutes)"
        return failure_reason(account)

    def _kill_hung(self) -> None:
        now = time.monotonic()
        for trial, heard in self._heard.items():
            if trial.status != Trial.RUNNING or now - heard < self._epoch_timeout:
                continue
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                self._heard[trial] = now
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
    """What Tune wrote of a trial's failure on this machine."""
    path = trial.error_file
    return Path(path).read_text(errors="replace") if path and Path(path).exists() else ""


def was_given_up(text: str) -> bool:
    """Whether Ray gave up a trial's process before it ran, which is no fault of the trial's.

    Of a process that dies while it begins, or is killed because it hangs there, Ray says that it never ran, too.

    Args:
        text: Tune's account of its failure.
    """
    return _NEVER_RAN in text and _ENDED.search(text) is None


def failure_reason(text: str) -> str:
    """One line that says why a trial failed.

    Args:
        text: Tune's account of its failure.
    """
    last = re.split(r"^Failure # \d+ .*$", text, flags=re.MULTILINE)[-1]
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    if not lines:
        return "its process ended without a reason"
    if lines[0].startswith("The actor died"):
        return f"its process died: {lines[-1]}"[:_LONGEST_REASON]
    return lines[-1][:_LONGEST_REASON]
