"""Ray Tune's three hooks as thin adaptors: it asks the conductor what to run, tells it what came back, and obeys.

Tune pickles its hooks into snapshots that nobody reads: each drops the conductor when it is pickled.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import ray
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from search.conductor import Conductor
from search.stop import StopFlag
from trainable.ray_trainable import RECORD, TRIAL_ID
from trainable.trial_record import EpochRecord, TrialCard

_OBJECTIVE: Final = "objective"
_LONGEST_REASON: Final = 500


class SearchStopped(BaseException):
    """Leaves Tune's loop at once: it catches exceptions, but what is durable needs none of its clean-up."""


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
    """

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self._conductor = conductor

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """STOP where the trial has ended."""
        record = trial_epoch(result)
        goes_on = self._conductor.epoch_done(trial.config[TRIAL_ID], record)
        decision: str = TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP
        return decision

    def __getstate__(self) -> dict[str, Any]:
        return {}


class DriverCallback(Callback):  # type: ignore[misc]
    """Failures, hung trials, the stop flag and the view: what Tune's loop is asked at every turn.

    Args:
        conductor: Is told of failures.
        stop: Asked at every turn.
        epoch_timeout: Seconds without a new epoch after which a trial's process is killed, to be retried.
        show: Called at every turn.
    """

    def __init__(self, conductor: Conductor, stop: StopFlag, epoch_timeout: float, show: Callable[[], None]) -> None:
        self._conductor = conductor
        self._stop = stop
        self._epoch_timeout = epoch_timeout
        self._show = show
        self._heard: dict[str, float] = {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Stop, kill what hangs, show."""
        if self._stop.reason() is not None:
            raise SearchStopped
        self._kill_hung(trials)
        self._show()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial's clock starts."""
        self._heard[trial.trial_id] = time.monotonic()

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """It starts again with the retry."""
        self._heard[trial.trial_id] = time.monotonic()

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
        self._conductor.trial_failed(trial.config[TRIAL_ID], failure_reason(failure_text(trial)))

    def _kill_hung(self, trials: list[Trial]) -> None:
        now = time.monotonic()
        for trial in trials:
            heard = self._heard.get(trial.trial_id)
            if trial.status != Trial.RUNNING or heard is None or now - heard < self._epoch_timeout:
                continue
            actor = trial.temporary_state.ray_actor
            if actor is not None:
                self._heard[trial.trial_id] = now
                ray.kill(actor)

    def __getstate__(self) -> dict[str, Any]:
        return {}


def trial_epoch(result: dict[str, Any]) -> EpochRecord:
    """The epoch record that a result of Tune's carries."""
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
