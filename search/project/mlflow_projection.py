"""MLflow as a projection of the record: a parent run a search, a child run a trial, one point a metric and epoch.

MLflow is imported when the first record is projected, on the thread that projects: it takes seconds.
"""

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from search.project.background_projection import TrackerUnreachableError
from search.project.mlflow_tracker import LONGEST_PARAM, LONGEST_TAG, TrackedRun, Tracker, key_safe, shortened
from trainable.errors import InputError
from trainable.record.metric_names import BEST_OBJECTIVE, OBJECTIVE, VAL_PREFIX
from trainable.record.record_types import EpochRecord, TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.tags import (
    ROLE_SEARCH,
    STATE_COMPLETED,
    STATE_FAILED,
    STATE_INTERRUPTED,
    STATE_RUNNING,
    TAG_ATTEMPTS,
    TAG_BASELINE,
    TAG_CONFIRMS,
    TAG_DATA_FINGERPRINT,
    TAG_DEVICE,
    TAG_GIT_COMMIT,
    TAG_NODE,
    TAG_OBJECTIVE,
    TAG_PARENT,
    TAG_REASON,
    TAG_ROLE,
    TAG_SEARCH,
    TAG_SEARCH_ID,
    TAG_STATE,
    TAG_TRIAL,
    TAG_WEIGHTS,
)
from trainable.record.trial_record import (
    CONFIG_FILE,
    CONFUSION_MATRIX_FILE,
    PER_IMAGE_COUNTS_FILE,
    VAL_COUNTS_FILE,
    VAL_MATRIX_FILE,
    WEIGHTS_FILE,
    TrialRecord,
)
from trainable.redaction import redacted

if TYPE_CHECKING:
    from mlflow.entities import Metric

_FINISHED: Final = "FINISHED"
_FAILED: Final = "FAILED"
_KILLED: Final = "KILLED"
_STATUS: Final = {"completed": _FINISHED, "pruned": _FINISHED, "diverged": _FAILED, "failed": _FAILED}
_STATES: Final = (*_STATUS, "unfinished")

_LOCKED_SECONDS: Final = 45.0
"""How long an SQLite file that another process has locked is waited for; MLflow itself waits 5 to 20 s a call."""


@dataclass(frozen=True)
class SearchIdentity:
    """What the runs of a search say about it.

    Attributes:
        search_id: Unique for ever; runs are found again by it.
        name: Name of the parent run.
        config: The resolved search config; flattened, the parent's params.
        data_fingerprint: Of the images and masks.
        git_commit: Of the user's working directory, or None outside a repository.
        objective: Name of the metric that is searched for.
    """

    search_id: str
    name: str
    config: dict[str, Any]
    data_fingerprint: str
    git_commit: str | None
    objective: str


@dataclass
class Written:
    """What a projection has filled in since it was made."""

    runs: int = 0
    epochs: int = 0
    weights: int = 0


class MlflowProjection:
    """Brings MLflow in line with the record; the calls of several threads are taken one after the other.

    What MLflow has is read once, at the first record, and remembered. After an error everything is read again, because
    a call that failed may have been carried out all the same, and what is remembered may be gone: a run that somebody
    deleted, a server that came back with an empty store. Then, and where SQLite is locked, it is tried again at once.

    Args:
        uri: The tracking URI.
        experiment: Name of the MLflow experiment, created where it does not exist.
        artifact_location: Where a new experiment keeps its artifacts, or None for the server's choice.
        search: What the runs say about the search.
        folder: The folder of the search, for artifacts.
    """

    def __init__(
        self, uri: str, experiment: str, artifact_location: str | None, search: SearchIdentity, folder: Storage
    ) -> None:
        self.name = f"MLflow at {redacted(uri)}"
        self._where = (uri, experiment, artifact_location)
        self._search = search
        self._folder = folder
        self._lock = threading.Lock()
        self._session: _Session | None = None
        self._written = Written()

    @property
    def written(self) -> Written:
        """What has been filled in so far."""
        return replace(self._written)

    def project(self, trial: TrialSnapshot) -> None:
        """Bring the run of one trial up to date; called again with the same snapshot it writes nothing."""
        self._in_session(lambda session: session.bring_up_to_date(trial))

    def finish(self, trials: Sequence[TrialSnapshot], keepers: set[str], live: bool) -> None:
        """Log the weights of the keepers and say how the search stands; `project` comes first.

        Args:
            trials: All trials of the search.
            keepers: Ids of the trials whose weights are worth logging.
            live: The search still runs, here or elsewhere: nothing is marked as interrupted or finished.
        """
        if trials:
            self._in_session(lambda session: session.finish(trials, keepers, live))

    def close_interrupted(self, trials: Sequence[TrialSnapshot]) -> None:
        """Mark the runs of trials that have not ended as interrupted; `project` comes first.

        Args:
            trials: Of a confirmation, which says nothing about how the search as a whole stands.
        """
        self._in_session(lambda session: session.close_interrupted(trials))

    def forget(self) -> None:
        """Read what MLflow has anew at the next call: others may have changed it."""
        self._session = None

    def _in_session(self, act: "Callable[[_Session], None]") -> None:
        """Do something to the runs, for one thread at a time."""
        with self._lock:
            give_up = time.monotonic() + _LOCKED_SECONDS
            while True:
                remembered = self._session is not None
                try:
                    return self._attempt(act)
                except Exception as error:
                    if not remembered and not (_is_locked(error) and time.monotonic() < give_up):
                        raise

    def _attempt(self, act: "Callable[[_Session], None]") -> None:
        try:
            act(self._open())
        except BaseException:
            self._session = None
            raise

    def _open(self) -> "_Session":
        session = self._session
        if session is None:
            try:
                session = _Session(Tracker(*self._where), self._search, self._folder, self._written)
            except InputError:
                raise
            except Exception as error:  # MLflow raises whatever its store and its transport do
                raise TrackerUnreachableError(str(error)) from error
            self._session = session
        return session


class _Session:
    """What is known of the runs of a search since the last error."""

    def __init__(self, tracker: Tracker, search: SearchIdentity, folder: Storage, written: Written) -> None:
        self._tracker = tracker
        self._search = search
        self._folder = folder
        self._written = written
        self._parent: TrackedRun | None = None
        self._children: dict[str, TrackedRun] = {}
        self._find_runs()

    def _find_runs(self) -> None:
        runs = list(self._tracker.runs_of(self._search.search_id))
        # Doubles exist only where two processes wrote at once; all must then choose the same one.
        for run in sorted(runs, key=lambda run: (OBJECTIVE not in run.metrics, run.run_id)):
            trial_id = run.tags.get(TAG_TRIAL)
            if trial_id is None:
                chosen = self._parent = self._parent or run
            else:
                chosen = self._children.setdefault(trial_id, run)
            if chosen is not run:
                self._tracker.delete(run)
        self._adopt_children()

    def _adopt_children(self) -> None:
        """A parent that was deleted, or was a double, leaves children behind that the UI would not show below ours."""
        if self._parent is not None:
            for run in self._children.values():
                self._tracker.log(run, tags={TAG_PARENT: self._parent.run_id})

    def bring_up_to_date(self, trial: TrialSnapshot) -> None:
        run = self._children.get(trial.spec.trial_id)
        if run is not None and _is_complete(run, trial):
            return
        if run is None:
            run = self._create_child(trial)
        if not run.params:
            # At once, not at the end: a report of a running search reads it. And before the params: a run that has
            # those has it, whatever was cut off.
            self._upload_config(run, trial)
        if trial.end is not None:
            self._tracker.upload(run, self._best_files(trial))
        self._log(run, trial)
        if trial.end is not None:
            # Last: a run that has its end time has everything.
            self._tracker.close(run, _STATUS[trial.end.reason], trial.end.time_ms)

    def _create_child(self, trial: TrialSnapshot) -> TrackedRun:
        spec = trial.spec
        parent = self._open_parent(spec.created_ms)
        tags = _place_tags(trial) | self._common_tags()
        tags |= {
            TAG_PARENT: parent.run_id,
            TAG_ROLE: spec.role,
            TAG_TRIAL: spec.trial_id,
            TAG_BASELINE: str(spec.baseline).lower(),
        }
        tags |= _end_tags(trial)  # of one that has ended meanwhile, here: later they are a commit more
        if spec.confirms:
            tags[TAG_CONFIRMS] = spec.confirms
        run = self._tracker.create(spec.trial_id, spec.created_ms, tags)
        self._children[spec.trial_id] = run
        self._written.runs += 1
        return run

    def _upload_config(self, run: TrackedRun, trial: TrialSnapshot) -> None:
        config = TrialRecord(self._folder, trial.spec.trial_id).folder.read(CONFIG_FILE)
        if config is not None:
            self._tracker.upload(run, {CONFIG_FILE: config})

    def _open_parent(self, start_ms: int) -> TrackedRun:
        if self._parent is None:
            tags = self._common_tags() | {TAG_ROLE: ROLE_SEARCH, TAG_OBJECTIVE: self._search.objective}
            self._parent = self._tracker.create(self._search.name, start_ms, tags)
            self._adopt_children()
        self._tracker.reopen(self._parent)
        self._tracker.log(self._parent, params=flat(self._search.config), tags={TAG_STATE: STATE_RUNNING})
        return self._parent

    def _common_tags(self) -> dict[str, str]:
        search = self._search
        tags = {
            TAG_SEARCH: search.name,
            TAG_SEARCH_ID: search.search_id,
            TAG_DATA_FINGERPRINT: search.data_fingerprint,
            TAG_GIT_COMMIT: search.git_commit or "",
        }
        return {key: value for key, value in tags.items() if value}

    def _log(self, run: TrackedRun, trial: TrialSnapshot) -> None:
        """What the run lacks, in as few calls as that takes: each costs a database some commits."""
        logged = self._tracker.epochs(run)
        missing = [epoch for epoch in trial.epochs if epoch.epoch not in logged]
        tags = _place_tags(trial) | _end_tags(trial) if trial.end or missing else {}
        if missing:
            self._open_parent(trial.spec.created_ms)
            self._tracker.reopen(run)
        points = [point for epoch in missing for point in _points(epoch)]
        measured = _val_points(trial) if trial.end else []
        self._tracker.log(run, [*points, *measured], flat(trial.spec.config), tags)
        logged.update(epoch.epoch for epoch in missing)
        self._written.epochs += len(missing)

    def _best_files(self, trial: TrialSnapshot) -> dict[str, bytes]:
        """The files of the best epoch, and what a confirmation measured."""
        record = TrialRecord(self._folder, trial.spec.trial_id)
        paths = {}
        if trial.best is not None:
            for name in (CONFUSION_MATRIX_FILE, PER_IMAGE_COUNTS_FILE):
                paths[name] = record.best_file(trial.best, name)
        if trial.val is not None:
            for name in (VAL_COUNTS_FILE, VAL_MATRIX_FILE):
                paths[name.replace("/", "_")] = record.val_file(trial.val, name)
        found = record.folder.read_many(list(paths.values()))
        return {name: found[path] for name, path in paths.items() if path in found}

    def finish(self, trials: Sequence[TrialSnapshot], keepers: set[str], live: bool) -> None:
        for trial in trials:
            run = self._children.get(trial.spec.trial_id)
            if run is None:
                continue
            if trial.spec.trial_id in keepers:
                self._log_weights(run, trial)
            if not live:
                self._close_interrupted(run, trial)
        self._summarise(trials, live)

    def close_interrupted(self, trials: Sequence[TrialSnapshot]) -> None:
        for trial in trials:
            run = self._children.get(trial.spec.trial_id)
            if run is not None:
                self._close_interrupted(run, trial)

    def _close_interrupted(self, run: TrackedRun, trial: TrialSnapshot) -> None:
        if trial.end is None:
            self._tracker.log(run, tags={TAG_STATE: STATE_INTERRUPTED})
            self._tracker.close(run, _KILLED, _newest_ms([trial]))

    def _log_weights(self, run: TrackedRun, trial: TrialSnapshot) -> None:
        if trial.best is None or TAG_WEIGHTS in run.tags:
            return
        record = TrialRecord(self._folder, trial.spec.trial_id)
        data = record.folder.read(record.best_file(trial.best, WEIGHTS_FILE))
        if data is not None:
            self._tracker.upload(run, {WEIGHTS_FILE: data})
            self._tracker.log(run, tags={TAG_WEIGHTS: str(trial.best.epoch)})
            self._written.weights += 1

    def _summarise(self, trials: Sequence[TrialSnapshot], live: bool) -> None:
        from mlflow.entities import Metric

        if self._parent is None:
            self._open_parent(min(trial.spec.created_ms for trial in trials))
        assert self._parent is not None
        when, ended = _newest_ms(trials), sum(trial.end is not None for trial in trials)
        changed = {key: value for key, value in _summary(trials).items() if self._parent.metrics.get(key) != value}
        self._tracker.log(self._parent, [Metric(key, value, when, ended) for key, value in changed.items()])
        self._parent.metrics |= changed
        if not live:
            state, status = _search_state(trials)
            self._tracker.log(self._parent, tags={TAG_STATE: state})
            self._tracker.close(self._parent, status, when)


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested config as params by dotted key; what is null does not exist and is left out."""
    params: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            params |= flat(value, f"{name}.")
        elif value is not None:
            text = json.dumps(value) if isinstance(value, (list, tuple)) else str(value)
            params[key_safe(name)] = shortened(text, LONGEST_PARAM)
    return params


def _is_locked(error: BaseException | None) -> bool:
    """Whether it comes from an SQLite file that another process has locked."""
    while error is not None:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_complete(run: TrackedRun, trial: TrialSnapshot) -> bool:
    end = trial.end
    return end is not None and (run.tags.get(TAG_STATE), run.status, run.end_time) == (
        end.reason,
        _STATUS[end.reason],
        end.time_ms,
    )


def _points(epoch: EpochRecord) -> "list[Metric]":
    """The metrics of an epoch; the objective comes last, so that where it is, all are, in however many batches."""
    from mlflow.entities import Metric

    values = {key: value for key, value in epoch.metrics.items() if key != OBJECTIVE} | {OBJECTIVE: epoch.objective}
    return [Metric(key, value, epoch.time_ms, epoch.epoch) for key, value in values.items()]


def _val_points(trial: TrialSnapshot) -> "list[Metric]":
    """What a confirmation scored on val, at the epoch whose weights were measured."""
    from mlflow.entities import Metric

    val = trial.val
    if val is None:
        return []
    items = val.metrics.items()
    return [Metric(f"{VAL_PREFIX}{name}", value, val.time_ms, val.epoch) for name, value in items]


def _place_tags(trial: TrialSnapshot) -> dict[str, str]:
    """Where the trial was last seen, and its attempts so far."""
    last = trial.epochs[-1] if trial.epochs else None
    # A start is excused when it turns out that its machine was lost; the epochs since have counted it.
    attempts = trial.attempts if trial.end or last is None else max(trial.attempts, last.attempt)
    tags = {TAG_ATTEMPTS: str(attempts) if attempts or trial.end else ""}
    if last is not None:
        tags |= {TAG_NODE: last.node, TAG_DEVICE: last.device}
    return {key: value for key, value in tags.items() if value}


def _end_tags(trial: TrialSnapshot) -> dict[str, str]:
    """Its state, and the reason where it has ended."""
    if trial.end is None:
        return {TAG_STATE: STATE_RUNNING}
    reason = {TAG_REASON: shortened(trial.end.detail, LONGEST_TAG)} if trial.end.detail else {}
    return {TAG_STATE: trial.end.reason} | reason


def _summary(trials: Sequence[TrialSnapshot]) -> dict[str, float]:
    states = Counter(trial.state for trial in trials)
    summary = {f"trials/{state}": float(states[state]) for state in _STATES}
    sound = [trial.objective for trial in trials if trial.state not in ("failed", "diverged")]
    values = [value for value in sound if value is not None]
    return summary | ({BEST_OBJECTIVE: max(values)} if values else {})


def _search_state(trials: Sequence[TrialSnapshot]) -> tuple[str, str]:
    states = {trial.state for trial in trials}
    if "unfinished" in states:
        return STATE_INTERRUPTED, _KILLED
    return (STATE_FAILED, _FAILED) if states == {"failed"} else (STATE_COMPLETED, _FINISHED)


def _newest_ms(trials: Sequence[TrialSnapshot]) -> int:
    """When the last thing happened that the record knows of: the same however often it is asked."""
    times = [trial.spec.created_ms for trial in trials]
    times += [trial.epochs[-1].time_ms for trial in trials if trial.epochs]
    times += [trial.end.time_ms for trial in trials if trial.end is not None]
    return max(times)
