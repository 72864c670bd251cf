"""The ended trials as an Optuna study in a journal file, which Optuna Dashboard opens."""

import logging
import tempfile
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from search.space import Space, suggest
from trainable.storage import Storage
from trainable.trial_record import TrialSnapshot

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
    """

    def __init__(self, folder: Storage, study_name: str, space: Space) -> None:
        self.name = f"Optuna journal {folder.url}/{JOURNAL_FILE}"
        self._folder = folder
        self._study_name = study_name
        self._space = space
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._study: optuna.Study | None = None
        self._copied: set[str] = set()
        self._changed = False
        self._lock = threading.Lock()

    def project(self, trial: TrialSnapshot) -> None:
        """Copy a trial that has ended; others are passed over."""
        if trial.end is None:
            return
        with self._lock:
            if self._study is not None and trial.card.trial_id in self._copied:
                return
            study = self._open()
            # Read again each time: a sync may be copying beside a running search.
            self._copied = {each.user_attrs.get(ATTR_TRIAL, "") for each in study.get_trials(deepcopy=False)}
            if trial.card.trial_id not in self._copied:
                self._add(study, trial)
                self._copied.add(trial.card.trial_id)
                self._changed = True

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
            self._study = _load(self._path, self._study_name)
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
        params, distributions = _params(trial.card.params, self._space)
        outside = {key: value for key, value in trial.card.params.items() if key not in params}
        try:
            study.add_trial(_frozen(trial, params, distributions, outside))
        except ValueError:
            # A study refuses a value outside its range, and choices that differ from those before.
            study.add_trial(_frozen(trial, {}, {}, trial.card.params))


def _load(path: Path, study_name: str) -> optuna.Study:
    _cut_torn_line(path)
    # Optuna announces each new study, and warns of each value outside its range, which `_add` takes care of.
    logging.getLogger("optuna.storages.journal").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message="The value .* is out of the range", category=UserWarning)
    try:
        return _study(path, study_name)
    except (ValueError, KeyError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        logger.warning("%s is damaged and written anew, the old one is %s: %s", path, aside.name, error)
        path.replace(aside)
        return _study(path, study_name)


def _study(path: Path, name: str) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    # Not `load_if_exists`, which writes its vain attempt into the journal.
    if name in optuna.get_all_study_names(storage):
        return optuna.load_study(study_name=name, storage=storage)
    return optuna.create_study(study_name=name, storage=storage, direction="maximize")


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


def _frozen(
    trial: TrialSnapshot, params: dict[str, Any], distributions: dict[str, BaseDistribution], outside: dict[str, Any]
) -> FrozenTrial:
    assert trial.end is not None
    state, value = _outcome(trial)
    frozen = optuna.create_trial(
        state=state,
        value=value,
        params=params,
        distributions=distributions,
        user_attrs=_user_attrs(trial, outside),
        intermediate_values={epoch.epoch: epoch.objective for epoch in trial.epochs},
    )
    frozen.datetime_start = _local_time(trial.card.created_ms)
    frozen.datetime_complete = _local_time(trial.end.time_ms)
    return frozen


def _outcome(trial: TrialSnapshot) -> tuple[TrialState, float | None]:
    if trial.state == "diverged":
        return TrialState.COMPLETE, 0.0
    if trial.state == "failed" or trial.objective is None:
        return TrialState.FAIL, None
    return (TrialState.PRUNED if trial.state == "pruned" else TrialState.COMPLETE), trial.objective


def _user_attrs(trial: TrialSnapshot, outside: dict[str, Any]) -> dict[str, Any]:
    assert trial.end is not None
    config = trial.card.config
    attrs = {
        ATTR_TRIAL: trial.card.trial_id,
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
