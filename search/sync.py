"""Filling in what MLflow has missed of a search."""

from dataclasses import dataclass, field
from typing import Final

from search.config import ConfirmConfig
from search.mlflow_projection import MlflowProjection
from search.retention import keepers
from trainable.storage import Storage
from trainable.trial_record import TrialSnapshot, load_trials

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


def sync(folder: Storage, projection: MlflowProjection, confirm: ConfirmConfig, live: bool) -> SyncReport:
    """Bring MLflow in line with the record; where nothing is missing, nothing is written.

    Args:
        folder: The folder of the search.
        projection: Into MLflow, of this search.
        confirm: Whose weights are worth logging.
        live: The search is running, here or elsewhere: nothing is marked as interrupted or finished.

    Raises:
        Exception: The tracker cannot be reached.
    """
    trials = load_trials(folder)
    before = projection.written
    refused = _project_all(trials, projection)
    projection.finish(trials, keepers(trials, confirm.top, confirm.best_of_each_loss), live)
    after = projection.written
    return SyncReport(
        trials=len(trials),
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
        except Exception as error:
            in_a_row += 1
            if in_a_row == min(_GIVE_UP_AFTER, len(trials)):
                raise
            refused[trial.card.trial_id] = f"{type(error).__name__}: {error}"
        else:
            in_a_row = 0
    return refused
