"""What the soak must leave behind: the record, MLflow and the Optuna journal compared with what was trained.

Whatever is not as it should be is either a duplicate (trained, recorded or shown twice) or a loss (missing or wrong).
"""

import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.project.mlflow_projection import flat
from trainable.record.metric_names import MIOU
from trainable.record.mlflow_client import connect
from trainable.record.record_types import EpochRecord, TrialSnapshot, trial_name
from trainable.record.storage import Storage
from trainable.record.tags import TAG_ATTEMPTS, TAG_REASON, TAG_STATE, TAG_TRIAL
from trainable.record.trial_record import CONFIG_FILE, TrialRecord, load_trials

if TYPE_CHECKING:  # MLflow takes seconds to import, and the trial processes import this file
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_EPOCHS = 6
RUNGS = (2, 4)
TRAINED_EPOCHS = "trained_epochs"
SEARCH = "soak"
TRAINED_LOG = "trained.jsonl"
STORE = "mlflow.db"
ARTIFACTS = "mlartifacts"
ALWAYS_FAILS = 1
FAILURE = "this trial always fails"

Point = tuple[int, float, int]
"""Epoch, value and time in milliseconds of one metric."""


def diverges(number: int) -> bool:
    """Whether a trial diverges, in its second epoch: before a rung could stop it."""
    return number % 10 == 7


def learn(value: int, epoch: int) -> int:
    """What an epoch makes of the state: every later value shows whether one was skipped or trained twice."""
    return zlib.crc32(f"{value} {epoch}".encode())


def miou(value: int) -> float:
    """The metric that a state gives."""
    return value / 2**32


@dataclass
class Audit:
    """What was found.

    Attributes:
        states: Trials by state.
        epochs: Durable epochs.
        starts: Starts of trials.
        repeated: Epochs that were begun again before they were durable.
        duplicates: What is there twice, or was trained although it was durable.
        losses: What is missing or wrong.
    """

    states: Counter[str] = field(default_factory=Counter)
    epochs: int = 0
    starts: int = 0
    repeated: int = 0
    duplicates: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)

    def lost_unless(self, holds: bool, what: str) -> None:
        """A loss, if it does not hold."""
        if not holds:
            self.losses.append(what)

    def once(self, count: int, what: str) -> bool:
        """Whether something is there exactly once; else a loss or a duplicate."""
        if count == 0:
            self.losses.append(f"{what} is missing")
        elif count > 1:
            self.duplicates.append(f"{what} is there {count} times")
        return count == 1


def audit(folder: Path, trials: int, repeats: int) -> Audit:
    """Compare everything with everything.

    Args:
        folder: Of the soak: the search, MLflow's store and the log of what was trained.
        trials: The budget.
        repeats: How many epochs may have been begun again: one for each trial that a fault hit.
    """
    found = Audit()
    search = Storage(str(folder / SEARCH))
    record = load_trials(search)
    ids = [trial.spec.trial_id for trial in record]
    for trial_id in sorted({*ids, *map(trial_name, range(trials))}):
        found.once(ids.count(trial_id), f"the record of {trial_id}")
    for trial in record:
        _audit_record(trial, search, found)
    _audit_log(record, folder / TRAINED_LOG, repeats, found)
    _audit_journal(record, folder / SEARCH / "optuna.journal", found)
    _audit_mlflow(record, folder, found)
    return found


def _audit_record(trial: TrialSnapshot, search: Storage, found: Audit) -> None:
    """A trial has ended as it had to, with every epoch once and each trained on top of the one before."""
    trial_id, epochs = trial.spec.trial_id, trial.epochs
    found.states[trial.state] += 1
    found.epochs += len(epochs)
    found.starts += trial.attempts
    found.lost_unless(
        _ends_well(trial, search), f"{trial_id} ended as {trial.state} after {len(epochs)} epochs: {trial.end}"
    )
    numbers = [epoch.epoch for epoch in epochs]
    found.lost_unless(numbers == list(range(1, len(epochs) + 1)), f"{trial_id} has epochs {numbers}")
    durable = TrialRecord(search, trial_id).epochs()
    found.lost_unless(
        durable == epochs, f"{trial_id}: its end marker has {len(epochs)} of {len(durable)} durable epochs"
    )
    attempts = [*(epoch.attempt for epoch in epochs), trial.attempts]
    found.lost_unless(all(a <= b for a, b in pairwise(attempts)), f"{trial_id} was trained by starts {attempts}")
    _audit_values(trial, found)


def _ends_well(trial: TrialSnapshot, search: Storage) -> bool:
    number, epochs = trial.spec.number, len(trial.epochs)
    if number == ALWAYS_FAILS:
        # Not at its last start for certain: that one may have been killed.
        failures = TrialRecord(search, trial.spec.trial_id).failures()
        return trial.state == "failed" and epochs == 1 and any(FAILURE in failure.reason for failure in failures)
    if diverges(number):
        return trial.state == "diverged" and epochs == 2
    return (trial.state == "completed" and epochs == MAX_EPOCHS) or (trial.state == "pruned" and epochs in RUNGS)


def _audit_values(trial: TrialSnapshot, found: Audit) -> None:
    value, best = trial.spec.number, 0.0
    for epoch in trial.epochs:
        value = learn(value, epoch.epoch)
        best = max(best, miou(value))
        expected = (epoch.epoch, miou(value), best)
        seen = (epoch.metrics.get(TRAINED_EPOCHS), epoch.metrics.get(MIOU), epoch.objective)
        right = epoch.objective == 0.0 if epoch.diverged else seen == expected
        found.lost_unless(right, f"{trial.spec.trial_id} epoch {epoch.epoch} is {seen}, and had to be {expected}")


def _audit_log(record: Sequence[TrialSnapshot], log: Path, repeats: int, found: Audit) -> None:
    """No epoch was trained that was durable; only those in flight were begun again."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for trial_id, epoch, start in sorted({(*_where(line), line["attempt"]) for line in lines if line["durable"]}):
        found.duplicates.append(f"{trial_id} trained epoch {epoch} in start {start}, though it was durable")
    begun = Counter(_where(line) for line in lines if line["moment"] == "begin")
    found.repeated = begun.total() - len(begun)
    if found.repeated > repeats:
        found.duplicates.append(f"{found.repeated} epochs were begun again, more than the faults explain ({repeats})")
    for trial in record:
        for epoch in trial.epochs:
            trained = (trial.spec.trial_id, epoch.epoch) in begun
            found.lost_unless(trained, f"{trial.spec.trial_id} has epoch {epoch.epoch}, which was never trained")


def _where(line: dict[str, Any]) -> tuple[str, int]:
    return line["trial"], line["epoch"]


def _audit_journal(record: Sequence[TrialSnapshot], path: Path, found: Audit) -> None:
    """Optuna has every ended trial once, with its objective."""
    import optuna  # here: the trial processes import this file
    from optuna.storages.journal import JournalFileBackend

    from search.project.optuna_journal import ATTR_TRIAL

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    copies = defaultdict(list)
    for copy in optuna.load_study(study_name=path.parent.name, storage=storage).get_trials(deepcopy=False):
        copies[copy.user_attrs[ATTR_TRIAL]].append(copy)
    for trial in record:
        copied = copies.pop(trial.spec.trial_id, [])
        if found.once(len(copied), f"Optuna's copy of {trial.spec.trial_id}") and trial.state != "failed":
            values = (trial.objective, copied[0].value)
            found.lost_unless(
                values[0] == values[1], f"{trial.spec.trial_id} has objectives {values} here and in Optuna"
            )
    found.lost_unless(not copies, f"Optuna has trials that the record has not: {list(copies)}")


def _audit_mlflow(record: Sequence[TrialSnapshot], folder: Path, found: Audit) -> None:
    """MLflow has one run a trial, in its final state, and one point a metric and epoch."""
    client = connect(f"sqlite:///{folder / STORE}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = defaultdict(list)
    for run in client.search_runs(experiments, max_results=50_000):
        found.lost_unless(run.info.status != "RUNNING", f"run {run.info.run_name} is still RUNNING")
        runs[run.data.tags.get(TAG_TRIAL)].append(run)
    parents = runs.pop(None, [])
    if found.once(len(parents), "the run of the search"):
        _audit_parent(record, parents[0], found)
    for trial in record:
        of_trial = runs.pop(trial.spec.trial_id, [])
        if found.once(len(of_trial), f"the run of {trial.spec.trial_id}"):
            _audit_run(trial, of_trial[0], found)
            _audit_points(trial, client, of_trial[0], found)
            _audit_artifact(trial, folder, of_trial[0], found)
    found.lost_unless(not runs, f"MLflow has trials that the record has not: {list(runs)}")


def _audit_parent(record: Sequence[TrialSnapshot], run: "Run", found: Audit) -> None:
    states = Counter(trial.state for trial in record)
    counted = {state: run.data.metrics.get(f"trials/{state}") for state in states}
    found.lost_unless(counted == states, f"the run of the search counts {counted}, the record {dict(states)}")
    found.lost_unless(run.info.status == "FINISHED", f"the run of the search is {run.info.status}")


def _audit_run(trial: TrialSnapshot, run: "Run", found: Audit) -> None:
    tags = {TAG_STATE: trial.state, TAG_ATTEMPTS: str(trial.attempts)}
    times = (trial.spec.created_ms, None)
    if trial.end is not None:
        tags[TAG_REASON] = trial.end.detail
        times = (trial.spec.created_ms, trial.end.time_ms)
    wrong = {tag: run.data.tags.get(tag) for tag, value in tags.items() if run.data.tags.get(tag) != value}
    found.lost_unless(not wrong, f"the run of {trial.spec.trial_id} has tags {wrong}, and had to have {tags}")
    params = flat(trial.spec.config)
    found.lost_unless(run.data.params == params, f"the run of {trial.spec.trial_id} has params {run.data.params}")
    seen = (run.info.start_time, run.info.end_time)
    found.lost_unless(seen == times, f"the run of {trial.spec.trial_id} lasts from and to {seen}, not {times}")
    status = "FINISHED" if trial.state in ("completed", "pruned") else "FAILED"
    found.lost_unless(run.info.status == status, f"the run of {trial.spec.trial_id} is {run.info.status}")


def _audit_artifact(trial: TrialSnapshot, folder: Path, run: "Run", found: Audit) -> None:
    """The trial's config is there, and whole."""
    path = folder / ARTIFACTS / run.info.experiment_id / run.info.run_id / "artifacts" / CONFIG_FILE
    config = TrialRecord(Storage(str(folder / SEARCH)), trial.spec.trial_id).folder.read(CONFIG_FILE)
    whole = path.exists() and path.read_bytes() == config
    found.lost_unless(whole, f"the run of {trial.spec.trial_id} has not the artifact {path}")


def _audit_points(trial: TrialSnapshot, client: "MlflowClient", run: "Run", found: Audit) -> None:
    expected = _expected_points(trial.epochs)
    for metric in sorted({*expected, *run.data.metrics}):
        history = client.get_metric_history(run.info.run_id, metric)
        points = sorted((point.step, point.value, point.timestamp) for point in history)
        where = f"{metric} of {trial.spec.trial_id}"
        for epoch, count in Counter(step for step, _, _ in points).items():
            if count > 1:
                found.duplicates.append(f"{where} has {count} points in epoch {epoch}")
        missing = set(expected.get(metric, ())) ^ set(points)
        found.lost_unless(not missing, f"{where} differs between the record and MLflow: {sorted(missing)}")


def _expected_points(epochs: Sequence[EpochRecord]) -> dict[str, list[Point]]:
    points = defaultdict(list)
    for epoch in epochs:
        for metric, value in epoch.metrics.items():
            points[metric].append((epoch.epoch, value, epoch.time_ms))
    return points
