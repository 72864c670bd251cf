"""MLflow as a projection of the record: a parent run a search, a child run a trial, one point a metric and epoch.

MLflow is imported when the first record is projected, on the thread that projects: it takes seconds.
"""

import json
import logging
import os
import re
import shlex
import tempfile
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from search.config import TrackingConfig
from trainable.errors import InputError
from trainable.storage import Storage
from trainable.trial_record import (
    CONFUSION_MATRIX_FILE,
    OBJECTIVE,
    PER_IMAGE_COUNTS_FILE,
    WEIGHTS_FILE,
    EpochRecord,
    TrialRecord,
    TrialSnapshot,
)

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run
    from mlflow.tracking import MlflowClient

T = TypeVar("T")

TAG_SEARCH: Final = "aerosweep.search"
TAG_SEARCH_ID: Final = "aerosweep.search_id"
TAG_TRIAL: Final = "aerosweep.trial"
TAG_STATE: Final = "aerosweep.state"
TAG_REASON: Final = "aerosweep.reason"
TAG_GIT_COMMIT: Final = "aerosweep.git_commit"
TAG_DATA_FINGERPRINT: Final = "aerosweep.data_fingerprint"
TAG_NODE: Final = "aerosweep.node"
TAG_DEVICE: Final = "aerosweep.device"
TAG_ATTEMPTS: Final = "aerosweep.attempts"
TAG_BASELINE: Final = "aerosweep.baseline"
TAG_OBJECTIVE: Final = "aerosweep.objective"
TAG_WEIGHTS: Final = "aerosweep.weights"
"""The epoch whose weights have been logged."""
_TAG_PARENT: Final = "mlflow.parentRunId"

STATE_RUNNING: Final = "running"
STATE_INTERRUPTED: Final = "interrupted"
STATE_COMPLETED: Final = "completed"
STATE_FAILED: Final = "failed"

BEST_OBJECTIVE: Final = "best_objective"
"""Metric of the parent run."""
CONFIG_FILE: Final = "config.json"

_RUNNING: Final = "RUNNING"
_FINISHED: Final = "FINISHED"
_FAILED: Final = "FAILED"
_KILLED: Final = "KILLED"
_STATUS: Final = {"completed": _FINISHED, "pruned": _FINISHED, "diverged": _FAILED, "failed": _FAILED}
_STATES: Final = (*_STATUS, "unfinished")

# What one `log_batch` takes: 1,000 entities, of them 100 params and 100 tags.
_METRICS_A_BATCH: Final = 800
_PARAMS_A_BATCH: Final = 100
_LONGEST_PARAM: Final = 6000
_LONGEST_TAG: Final = 5000
_RUNS_A_PAGE: Final = 500

_ENVIRONMENT: Final = {
    # A dead server would hold each call for minutes (7 retries of 120 s). And MLflow repeats a call whose answer was
    # late, `create_run` included, which makes a second run: we repeat it ourselves, having looked what is there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a search tells nobody that it runs
}
"""Set for MLflow unless the user has set them."""


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


def tracking_uri(tracking: TrackingConfig, storage: str) -> tuple[str, str | None]:
    """Where MLflow is: the config's word, else MLFLOW_TRACKING_URI, else an SQLite file beside the searches.

    Args:
        tracking: The `tracking` section.
        storage: The folder of all searches, absolute.

    Returns:
        The tracking URI, and where a new experiment keeps its artifacts (None: where the server says).

    Raises:
        InputError: No URI is given and `storage` can hold no SQLite file, or the URI is a folder.
    """
    local = urlsplit(storage).scheme in ("", "file", "local")
    uri = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None or not uri.strip():
        if not local:
            raise InputError(
                "tracking.uri must be set where storage is not a local path",
                f"storage {storage} and neither tracking.uri nor MLFLOW_TRACKING_URI",
                "Start `mlflow server` and add --set tracking.uri=http://HOST:5000",
            )
        uri = f"sqlite:///{Storage(storage).local_path / 'mlflow.db'}"
    return _resolved(uri.strip(), storage, local)


def _resolved(uri: str, storage: str, local: bool) -> tuple[str, str | None]:
    if urlsplit(uri).scheme in ("", "file") and uri not in ("databricks", "databricks-uc", "uc"):
        raise InputError(
            "tracking.uri (or MLFLOW_TRACKING_URI) must be a server or a database: MLflow no longer writes to folders",
            uri,
            "Write http://HOST:5000 or sqlite:///PATH/mlflow.db",
        )
    sqlite = re.fullmatch(r"(sqlite(?:\+\w+)?):///([^?]+)(\?.*)?", uri)
    if sqlite is not None:
        path = Path(sqlite[2]).expanduser().resolve()
        # Else the artifacts go to ./mlruns of whoever happens to create the experiment.
        return f"{sqlite[1]}:///{path}{sqlite[3] or ''}", (path.parent / "mlartifacts").as_uri()
    if _is_database(uri):
        beside = Storage(storage).local_path.as_uri() if local else storage.rstrip("/")
        return uri, f"{beside}/mlartifacts"
    return uri, None


def ui_command(uri: str) -> str:
    """The shell command that opens the MLflow UI of a tracking URI; a password in it is not shown."""
    if _is_database(uri):
        return f"mlflow ui --backend-store-uri {shlex.quote(without_password(uri))}"
    return f"python -m webbrowser {shlex.quote(without_password(uri))}"


def without_password(uri: str) -> str:
    """The URI as it may be printed."""
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1:***@", uri)


def _is_database(uri: str) -> bool:
    return urlsplit(uri).scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


@dataclass
class _TrackedRun:
    """A run as MLflow has it, so that what is there need not be asked for again.

    `epochs` is None as long as the run's history has not been read.
    """

    run_id: str
    status: str
    end_time: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    metrics: dict[str, float] = field(default_factory=dict)
    epochs: set[int] | None = None


class _Tracker:
    """The calls to MLflow that a search needs; each leaves out what is there already.

    Args:
        uri: The tracking URI.
        experiment: Name of the experiment, created where it does not exist.
        artifact_location: Of a new experiment, or None for the server's choice.
    """

    def __init__(self, uri: str, experiment: str, artifact_location: str | None) -> None:
        self._client = _connect(uri)
        self._experiment_id = self._require_experiment(experiment, artifact_location)

    def _require_experiment(self, name: str, artifact_location: str | None) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            created: str = self._client.create_experiment(name, artifact_location)
            return created
        if experiment.lifecycle_stage != "active":
            raise InputError(
                "tracking.experiment must not have been deleted",
                name,
                f"Run `mlflow experiments restore -x {experiment.experiment_id}`, or set another tracking.experiment",
            )
        experiment_id: str = experiment.experiment_id
        return experiment_id

    def runs_of(self, search_id: str) -> Iterator[_TrackedRun]:
        """All runs of a search, its parent included."""
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                filter_string=f"tags.`{TAG_SEARCH_ID}` = '{search_id}'",
                max_results=_RUNS_A_PAGE,
                page_token=token,
            )
            yield from (_tracked(run) for run in page)
            token = page.token
            if not token:
                return

    def create(self, name: str, start_ms: int, tags: Mapping[str, str]) -> _TrackedRun:
        """Create a run."""
        run = self._client.create_run(self._experiment_id, start_time=start_ms, tags=dict(tags), run_name=name)
        return _TrackedRun(run.info.run_id, _RUNNING, tags=dict(tags), epochs=set())

    def epochs(self, run: _TrackedRun) -> set[int]:
        """The epochs that have been logged as a whole."""
        if run.epochs is None:
            run.epochs = {point.step for point in self._client.get_metric_history(run.run_id, OBJECTIVE)}
        return run.epochs

    def log(
        self,
        run: _TrackedRun,
        metrics: "Sequence[Metric]" = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log metrics, and the params and tags that the run does not have yet; nothing new costs no call."""
        from mlflow.entities import Param, RunTag

        new_params = {key: value for key, value in (params or {}).items() if key not in run.params}
        new_tags = {key: value for key, value in (tags or {}).items() if run.tags.get(key) != value}
        batches = zip_longest(
            _chunks(metrics, _METRICS_A_BATCH),
            _chunks([Param(*item) for item in new_params.items()], _PARAMS_A_BATCH),
            _chunks([RunTag(*item) for item in new_tags.items()], _PARAMS_A_BATCH),
            fillvalue=(),
        )
        for batch in batches:
            self._client.log_batch(run.run_id, *batch, synchronous=True)
        run.params |= new_params.keys()
        run.tags |= new_tags

    def upload(self, run: _TrackedRun, files: Mapping[str, bytes]) -> None:
        """Log artifacts by name; a name that exists is replaced."""
        if not files:
            return
        with tempfile.TemporaryDirectory(prefix="aerosweep-") as folder:
            for name, data in files.items():
                Path(folder, name).write_bytes(data)
            self._client.log_artifacts(run.run_id, folder)

    def reopen(self, run: _TrackedRun) -> None:
        """Set a run to RUNNING."""
        if run.status != _RUNNING:
            self._client.update_run(run.run_id, status=_RUNNING)
            run.status = _RUNNING

    def close(self, run: _TrackedRun, status: str, end_ms: int) -> None:
        """Set a run's final status and end time."""
        if (run.status, run.end_time) != (status, end_ms):
            self._client.set_terminated(run.run_id, status, end_ms)
            run.status, run.end_time = status, end_ms


class MlflowProjection:
    """Brings MLflow in line with the record; the calls of several threads are taken one after the other.

    What MLflow has is read once, at the first record, and remembered. After an error everything is read again, because
    a call that failed may have been carried out all the same.

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
        self.name = f"MLflow at {without_password(uri)}"
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
        with self._lock:
            try:
                self._open().bring_up_to_date(trial)
            except BaseException:
                self._session = None
                raise

    def finish(self, trials: Sequence[TrialSnapshot], keepers: set[str], live: bool) -> None:
        """Log the weights of the keepers and say how the search stands; `project` comes first.

        Args:
            trials: All trials of the search.
            keepers: Ids of the trials whose weights are worth logging.
            live: The search still runs, here or elsewhere: nothing is marked as interrupted or finished.
        """
        if not trials:
            return
        with self._lock:
            try:
                self._open().finish(trials, keepers, live)
            except BaseException:
                self._session = None
                raise

    def _open(self) -> "_Session":
        if self._session is None:
            self._session = _Session(_Tracker(*self._where), self._search, self._folder, self._written)
        return self._session


class _Session:
    """What is known of the runs of a search since the last error."""

    def __init__(self, tracker: _Tracker, search: SearchIdentity, folder: Storage, written: Written) -> None:
        self._tracker = tracker
        self._search = search
        self._folder = folder
        self._written = written
        self._parent: _TrackedRun | None = None
        self._children: dict[str, _TrackedRun] = {}
        # Doubles exist only where two processes wrote at once; all must then choose the same one.
        runs = list(tracker.runs_of(search.search_id))
        for run in sorted(runs, key=lambda run: (OBJECTIVE not in run.metrics, run.run_id)):
            trial_id = run.tags.get(TAG_TRIAL)
            if trial_id is not None:
                self._children.setdefault(trial_id, run)
            elif self._parent is None:
                self._parent = run

    def bring_up_to_date(self, trial: TrialSnapshot) -> None:
        run = self._children.get(trial.card.trial_id)
        if run is not None and _is_complete(run, trial):
            return
        if run is None:
            run = self._create_child(trial)
        self._log_epochs(run, trial)
        if trial.end is not None:
            self._end(run, trial)

    def _create_child(self, trial: TrialSnapshot) -> _TrackedRun:
        card = trial.card
        parent = self._open_parent(card.created_ms)
        tags = _place_tags(trial) | self._common_tags()
        tags |= {
            _TAG_PARENT: parent.run_id,
            TAG_TRIAL: card.trial_id,
            TAG_STATE: STATE_RUNNING,
            TAG_BASELINE: str(card.baseline).lower(),
        }
        run = self._tracker.create(card.trial_id, card.created_ms, tags)
        self._children[card.trial_id] = run
        self._written.runs += 1
        return run

    def _open_parent(self, start_ms: int) -> _TrackedRun:
        if self._parent is None:
            tags = self._common_tags() | {TAG_STATE: STATE_RUNNING, TAG_OBJECTIVE: self._search.objective}
            self._parent = self._tracker.create(self._search.name, start_ms, tags)
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

    def _log_epochs(self, run: _TrackedRun, trial: TrialSnapshot) -> None:
        logged = self._tracker.epochs(run)
        missing = [epoch for epoch in trial.epochs if epoch.epoch not in logged]
        params = flat(trial.card.config)
        if not missing:
            self._tracker.log(run, params=params)
            return
        self._open_parent(trial.card.created_ms)
        self._tracker.reopen(run)
        points = [point for epoch in missing for point in _points(epoch)]
        self._tracker.log(run, points, params, _place_tags(trial) | {TAG_STATE: STATE_RUNNING})
        logged.update(epoch.epoch for epoch in missing)
        self._written.epochs += len(missing)

    def _end(self, run: _TrackedRun, trial: TrialSnapshot) -> None:
        assert trial.end is not None
        self._tracker.upload(run, self._artifacts(trial))
        tags = _place_tags(trial) | {TAG_STATE: trial.end.reason}
        if trial.end.detail:
            tags[TAG_REASON] = _shortened(trial.end.detail, _LONGEST_TAG)
        self._tracker.log(run, tags=tags)
        # Last: a run that has its end time has everything.
        self._tracker.close(run, _STATUS[trial.end.reason], trial.end.time_ms)

    def _artifacts(self, trial: TrialSnapshot) -> dict[str, bytes]:
        record = TrialRecord(self._folder, trial.card.trial_id)
        paths = {CONFIG_FILE: CONFIG_FILE}
        if trial.best is not None:
            for name in (CONFUSION_MATRIX_FILE, PER_IMAGE_COUNTS_FILE):
                paths[name] = record.best_file(trial.best.epoch, name)
        found = record.folder.read_many(list(paths.values()))
        return {name: found[path] for name, path in paths.items() if path in found}

    def finish(self, trials: Sequence[TrialSnapshot], keepers: set[str], live: bool) -> None:
        for trial in trials:
            run = self._children.get(trial.card.trial_id)
            if run is None:
                continue
            if trial.card.trial_id in keepers:
                self._log_weights(run, trial)
            if trial.end is None and not live:
                self._tracker.log(run, tags={TAG_STATE: STATE_INTERRUPTED})
                self._tracker.close(run, _KILLED, _newest_ms([trial]))
        self._summarise(trials, live)

    def _log_weights(self, run: _TrackedRun, trial: TrialSnapshot) -> None:
        if trial.best is None or TAG_WEIGHTS in run.tags:
            return
        record = TrialRecord(self._folder, trial.card.trial_id)
        data = record.folder.read(record.best_file(trial.best.epoch, WEIGHTS_FILE))
        if data is not None:
            self._tracker.upload(run, {WEIGHTS_FILE: data})
            self._tracker.log(run, tags={TAG_WEIGHTS: str(trial.best.epoch)})
            self._written.weights += 1

    def _summarise(self, trials: Sequence[TrialSnapshot], live: bool) -> None:
        from mlflow.entities import Metric

        if self._parent is None:
            self._open_parent(min(trial.card.created_ms for trial in trials))
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
            params[_key_safe(name)] = _shortened(text, _LONGEST_PARAM)
    return params


def _connect(uri: str) -> "MlflowClient":
    """A client that says nothing on the console and does not wait for minutes."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"mlflow\.")
    from mlflow.tracking import MlflowClient

    # Where something has imported MLflow before, it has not seen our environment.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    sqlite = re.match(r"sqlite[^:]*:///([^?]+)", uri)
    if sqlite is not None:
        Path(sqlite[1]).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(uri)


def _tracked(run: "Run") -> _TrackedRun:
    data = run.data
    return _TrackedRun(
        run.info.run_id, run.info.status, run.info.end_time, dict(data.tags), set(data.params), dict(data.metrics)
    )


def _is_complete(run: _TrackedRun, trial: TrialSnapshot) -> bool:
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


def _place_tags(trial: TrialSnapshot) -> dict[str, str]:
    """Where the trial was last seen, and its starts so far."""
    last = trial.epochs[-1] if trial.epochs else None
    attempts = max(trial.attempts, last.attempt if last else 0)
    tags = {TAG_ATTEMPTS: str(attempts) if attempts else ""}
    if last is not None:
        tags |= {TAG_NODE: last.node, TAG_DEVICE: last.device}
    return {key: value for key, value in tags.items() if value}


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
    times = [trial.card.created_ms for trial in trials]
    times += [trial.epochs[-1].time_ms for trial in trials if trial.epochs]
    times += [trial.end.time_ms for trial in trials if trial.end is not None]
    return max(times)


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _key_safe(name: str) -> str:
    """The name in the characters that MLflow allows in a param's name."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
