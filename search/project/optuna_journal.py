"""The ended trials as an Optuna study in a journal file, which Optuna Dashboard opens."""

import logging
import tempfile
import threading
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from search.decide.ranking import objective_values
from search.decide.sampler import directions
from search.space.space import Space, suggest
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage

logger = logging.getLogger(__name__)

JOURNAL_FILE: Final = "optuna.journal"
ATTR_TRIAL: Final = "aerosweep_trial"
"""The trial's id: what makes a trial recognised as copied."""
ATTR_REASON: Final = "aerosweep_reason"
ATTR_DETAIL: Final = "aerosweep_detail"
ATTR_ARCHITECTURE: Final = "architecture"
ATTR_LOSS: Final = "loss"
ATTR_OUTSIDE: Final = "params_outside_the_space"
"""The params of a trial that the space of the study cannot hold, since a study holds no others."""


class OptunaJournal:
    """Copies each ended trial into a journal file in the search's folder, once.

    Where the folder is no local path, the file is written beside and uploaded by `close`.

    Args:
        folder: The folder of the search.
        study_name: Name of the study.
        space: Where the trials' params come from.
        objectives: Of the search; with several, Optuna Dashboard shows their Pareto front.
    """

    def __init__(self, folder: Storage, study_name: str, space: Space, objectives: Sequence[str] = ("miou",)) -> None:
        self.name = f"Optuna journal {folder.url}/{JOURNAL_FILE}"
        self._folder = folder
        self._study_name = study_name
        self._space = space
        self._objectives = tuple(objectives)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._study: optuna.Study | None = None
        self._copied: set[str] = set()
        self._read = 0
        self._changed = False
        self._lock = threading.Lock()

    def project(self, trial: TrialSnapshot) -> None:
        """Copy a trial that has ended; others are passed over."""
        if trial.end is None:
            return
        with self._lock:
            if self._study is not None and trial.spec.trial_id in self._copied:
                return
            study = self._open()
            self._read_on(study)
            if trial.spec.trial_id not in self._copied:
                self._add(study, trial)
                self._copied.add(trial.spec.trial_id)
                self._changed = True

    def _read_on(self, study: optuna.Study) -> None:
        """Take note of what the journal has gained: a sync may be copying beside a running search."""
        trials = study.get_trials(deepcopy=False)
        self._copied.update(each.user_attrs.get(ATTR_TRIAL, "") for each in trials[self._read :])
        self._read = len(trials)

    def close(self) -> None:
        """Upload the file where the folder is not local; a later `project` opens it again."""
        with self._lock:
            if self._scratch is None:
                return
            if self._changed:
                self._folder.write(JOURNAL_FILE, self._path.read_bytes())
                self._changed = False
            self._study = None
            self._scratch.cleanup()
            self._scratch = None

    @property
    def _path(self) -> Path:
        return (Path(self._scratch.name) if self._scratch else self._folder.local_path) / JOURNAL_FILE

    def _open(self) -> optuna.Study:
        if self._study is None:
            self._fetch()
            self._copied, self._read = set(), 0
            self._study = _load(self._path, self._study_name, self._objectives)
        return self._study

    def _fetch(self) -> None:
        if self._folder.is_local:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="aerosweep-")
        data = self._folder.read(JOURNAL_FILE)
        if data is not None:
            self._path.write_bytes(data)

    def _add(self, study: optuna.Study, trial: TrialSnapshot) -> None:
        params, distributions = _params(trial.spec.params, self._space)
        outside = {key: value for key, value in trial.spec.params.items() if key not in params}
        try:
            study.add_trial(self._frozen(trial, params, distributions, outside))
        except ValueError:
            # A study refuses a value outside its range, and choices that differ from those before.
            study.add_trial(self._frozen(trial, {}, {}, trial.spec.params))

    def _frozen(
        self,
        trial: TrialSnapshot,
        params: dict[str, Any],
        distributions: dict[str, BaseDistribution],
        outside: dict[str, Any],
    ) -> FrozenTrial:
        assert trial.end is not None
        several = len(self._objectives) > 1
        state, values = _outcome_of_several(trial, self._objectives) if several else _outcome(trial)
        frozen = optuna.create_trial(
            state=state,
            values=values,
            params=params,
            distributions=distributions,
            user_attrs=_user_attrs(trial, outside),
            # With several objectives Optuna knows none, and its TPE stumbles over those of a stopped trial.
            intermediate_values={} if several else {epoch.epoch: epoch.objective for epoch in trial.epochs},
        )
        frozen.datetime_start = _local_time(trial.spec.created_ms)
        frozen.datetime_complete = _local_time(trial.end.time_ms)
        return frozen


def _load(path: Path, study_name: str, objectives: Sequence[str]) -> optuna.Study:
    _cut_torn_line(path)
    # Optuna announces each new study, and warns of each value outside its range, which `_add` takes care of.
    logging.getLogger("optuna.storages.journal").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="The value .* is out of the range", category=UserWarning)
    try:
        return _study(path, study_name, objectives)
    except (ValueError, KeyError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        logger.warning("%s is damaged and written anew, the old one is %s: %s", path, aside.name, error)
        path.replace(aside)
        return _study(path, study_name, objectives)


def _study(path: Path, name: str, objectives: Sequence[str]) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    # Not `load_if_exists`, which writes its vain attempt into the journal.
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
    else:
        study = optuna.create_study(study_name=name, storage=storage, directions=directions(objectives))
    if len(objectives) > 1 and study.metric_names is None:
        with warnings.catch_warnings():
            # Marked experimental, and unchanged since Optuna 3.2.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(list(objectives))
    return study


def _cut_torn_line(path: Path) -> None:
    """Drop the line that a killed driver left half written: the next one would be appended to it."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)


def _params(params: dict[str, Any], space: Space) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """The params that the space suggests where the others are as they are, and their distributions."""
    fixed = FixedTrial(params)
    try:
        suggest(fixed, space)
    except (KeyError, ValueError):
        return {}, {}  # suggested from another space
    return fixed.params, fixed.distributions


def _outcome(trial: TrialSnapshot) -> tuple[TrialState, list[float] | None]:
    if trial.state == "diverged":
        return TrialState.COMPLETE, [0.0]
    if trial.state == "failed" or trial.objective is None:
        return TrialState.FAIL, None
    return (TrialState.PRUNED if trial.state == "pruned" else TrialState.COMPLETE), [trial.objective]


def _outcome_of_several(trial: TrialSnapshot, objectives: Sequence[str]) -> tuple[TrialState, list[float] | None]:
    """The outcome as the figures want it: a diverged trial has no values, and made-up ones would bend their axes.

    A trial that was stopped early keeps its values and stays off the front, which is of completed trials.
    """
    values = None if trial.state in ("failed", "diverged") else objective_values(trial, objectives)
    if values is None:
        return TrialState.FAIL, None
    return (TrialState.PRUNED if trial.state == "pruned" else TrialState.COMPLETE), list(values)


def _user_attrs(trial: TrialSnapshot, outside: dict[str, Any]) -> dict[str, Any]:
    assert trial.end is not None
    config = trial.spec.config
    attrs = {
        ATTR_TRIAL: trial.spec.trial_id,
        ATTR_REASON: trial.end.reason,
        ATTR_DETAIL: trial.end.detail,
        ATTR_ARCHITECTURE: config.get("model", {}).get("architecture"),
        ATTR_LOSS: config.get("loss", {}).get("name"),
        ATTR_OUTSIDE: outside,
    }
    return {key: value for key, value in attrs.items() if value}


def _local_time(time_ms: int) -> datetime:
    """Optuna's datetimes are naive and local."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone().replace(tzinfo=None)
