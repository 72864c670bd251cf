"""Filling in what MLflow has missed of a search."""

from dataclasses import dataclass, field
from typing import Final

from search.project.background_projection import TrackerUnreachableError, reason
from search.project.mlflow_projection import MlflowProjection, Written
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

_GIVE_UP_AFTER: Final = 3
"""Trials refused in a row: then it is the tracker, not the trials."""


@dataclass(frozen=True)
class SyncReport:
    """What a sync has done.

    Attributes:
        trials: Trials in the record.
        runs: Runs that were missing.
        epochs: Epochs that were missing.
        weights: Trials whose weights were missing.
        refused: Why, by the id of each trial that MLflow does not take.
    """

    trials: int
    runs: int = 0
    epochs: int = 0
    weights: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def with_confirmation(self, other: "SyncReport") -> "SyncReport":
        """Both reports as one."""
        return SyncReport(
            trials=self.trials + other.trials,
            runs=self.runs + other.runs,
            epochs=self.epochs + other.epochs,
            weights=self.weights + other.weights,
            refused=self.refused | other.refused,
        )


def sync(folder: Storage, projection: MlflowProjection, keepers: set[str], live: bool) -> SyncReport:
    """Bring MLflow in line with the record; where nothing is missing, nothing is written.

    Args:
        folder: The folder of the search.
        projection: Into MLflow, of this search.
        keepers: Ids of the trials whose weights are worth logging.
        live: The search is running, here or elsewhere: nothing is marked as interrupted or finished.

    Raises:
        Exception: The tracker cannot be reached.
    """
    trials = load_trials(folder)
    before = projection.written
    refused = _project_all(trials, projection)
    projection.finish(trials, keepers, live)
    return _report(len(trials), before, projection.written, refused)


def sync_confirmation(runs_folder: Storage, projection: MlflowProjection, live: bool) -> SyncReport:
    """Bring MLflow in line with the record of a confirmation; `sync` of its search comes after.

    Args:
        runs_folder: The folder of the confirmation.
        projection: Into MLflow, of these runs.
        live: A confirmation is running, here or elsewhere: nothing is marked as interrupted.

    Raises:
        Exception: The tracker cannot be reached.
    """
    runs = load_trials(runs_folder)
    if not runs:
        return SyncReport(trials=0)
    before = projection.written
    refused = _project_all(runs, projection)
    if not live:
        projection.close_interrupted(runs)
    return _report(len(runs), before, projection.written, refused)


def _report(trials: int, before: Written, after: Written, refused: dict[str, str]) -> SyncReport:
    return SyncReport(
        trials=trials,
        runs=after.runs - before.runs,
        epochs=after.epochs - before.epochs,
        weights=after.weights - before.weights,
        refused=refused,
    )


def _project_all(trials: list[TrialSnapshot], projection: MlflowProjection) -> dict[str, str]:
    """Project each trial; one that is refused does not keep the others back."""
    refused: dict[str, str] = {}
    in_a_row = 0
    for trial in trials:
        try:
            projection.project(trial)
        except TrackerUnreachableError:
            raise
        except Exception as error:
            in_a_row += 1
            if in_a_row == min(_GIVE_UP_AFTER, len(trials)):
                raise
            refused[trial.spec.trial_id] = reason(error)
        else:
            in_a_row = 0
    return refused
