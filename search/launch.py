"""A launch of a search: the first, a resume and an extension are the same thing."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

import optuna

from search.conductor import Conductor
from search.config import SearchConfig
from search.lease import Lease
from search.preflight import check_objective, check_search
from search.progress import SearchState, SearchView
from search.projections import Projections, write_leaderboard
from search.ray_session import ray_session, run_tune
from search.resources import Allotment, allot
from search.search_folder import require_startable, write_search
from search.stop import StopFlag
from search.tracking_uri import tracking_uri, ui_command
from trainable.cache_dir import default_cache_dir
from trainable.config import TrialConfig
from trainable.device import Share
from trainable.image_cache import Progress
from trainable.storage import Storage
from trainable.trial_data import open_trial_data
from trainable.trial_record import TrialCard, TrialSnapshot, load_trials

_MADE_IMAGES: Final = "the images are made: this shows how a search works and is no evidence about losses"


@dataclass(frozen=True)
class SearchOutcome:
    """What a launch leaves the user with.

    Attributes:
        trials: Every trial of the search, by number.
        folder: Where its record lies.
        tracking_uri: Where MLflow has it.
        ui_command: Opens the MLflow UI.
        interrupted: Why the launch ended early, or None.
        signal: The signal that ended it, or None.
        resume_needed: Whether trials of the budget are left.
    """

    trials: list[TrialSnapshot]
    folder: str
    tracking_uri: str
    ui_command: str
    interrupted: str | None
    signal: int | None
    resume_needed: bool


def run_search(
    config: SearchConfig,
    *,
    resume: bool,
    address: str | None,
    view: SearchView,
    say: Callable[[str], None],
    on_decode: Progress | None = None,
    trainable: type | None = None,
) -> SearchOutcome:
    """Run a search until its budget is spent or somebody stops it.

    Args:
        config: The search, with absolute paths.
        resume: Continue (or extend) the search in the folder; without it the folder must hold none.
        address: Of the Ray cluster, or None for this machine.
        view: Shows the search.
        say: Prints a line for the user; called from other threads too.
        on_decode: Called with (images done, images in all) while the cache is built.
        trainable: A class Trainable in place of the real one, for benchmarks and tests.

    Raises:
        InputError: The user's mistake, found before any trial starts.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study, and we build one a suggestion
    folder = Storage(config.folder)
    tracking_uri(config.tracking, config.storage)  # refused before the images are decoded, not after
    require_startable(config, folder, resume)
    cache_dir = config.resources.cache_dir or default_cache_dir()
    data = open_trial_data(config.dataset, cache_dir, on_decode)
    check_objective(config.objective, data)
    check_search(config, data.num_classes)
    for note in (*data.warnings, *([_MADE_IMAGES] if config.dataset.layout == "synthetic" else [])):
        say(f"note: {note}")
    with Lease(folder):
        meta = write_search(config, folder, data.cache.fingerprint)
        projections = Projections(config, folder, meta, say)
        try:
            launch = _Launch(config, folder, view, projections)
            stop = launch.run(address, str(cache_dir), trainable)
        finally:
            projections.close(load_trials(folder))
            trials = load_trials(folder)
            write_leaderboard(folder, trials)
    uri, _ = tracking_uri(config.tracking, config.storage)
    return SearchOutcome(
        trials=trials,
        folder=config.folder,
        tracking_uri=uri,
        ui_command=ui_command(uri),
        interrupted=stop.reason() if launch.left else None,
        signal=stop.signal.value if stop.signal and launch.left else None,
        resume_needed=launch.left > 0,
    )


class _Launch:
    """One run of Tune over a conductor."""

    def __init__(self, config: SearchConfig, folder: Storage, view: SearchView, projections: Projections) -> None:
        self._config = config
        self._folder = folder
        self._view = view
        self._projections = projections
        self._slots = 0
        self._began = time.monotonic()
        self._stop = StopFlag(config.budget.hours)
        self._conductor = Conductor(config, folder, self._changed)
        self._open = {trial_id for trial_id, trial in self._conductor.trials.items() if trial.end is None}
        self._epochs_at_start = sum(len(trial.epochs) for trial in self._conductor.trials.values())

    @property
    def left(self) -> int:
        """Trials of the budget that have not ended."""
        return self._conductor.left

    def run(self, address: str | None, cache_dir: str, trainable: type | None) -> StopFlag:
        """Run until done or stopped."""
        conductor = self._conductor
        conductor.recover()
        if conductor.left == 0:
            return self._stop
        with ray_session(address) as resources, self._stop.caught_signals():
            # Ray must not be imported before the session has set its environment.
            from search.tune_adaptors import DriverCallback, RecordScheduler, RecordSearcher, SearchStopped
            from trainable.ray_trainable import SegmentationTrainable

            allotment = allot(self._config.resources, resources)
            self._slots = allotment.slots
            self._began = time.monotonic()  # Ray's own start says nothing about how fast trials go
            searcher = RecordSearcher(conductor, _Assignment(self._config, self._folder, cache_dir, allotment.share))
            callback = DriverCallback(
                conductor, self._stop, 60 * self._config.runtime.epoch_timeout_minutes, self._show
            )
            # What is durable is durable: a stop leaves Tune's loop at once, and the session's end ends the workers.
            with suppress(SearchStopped):
                run_tune(
                    trainable or SegmentationTrainable,
                    _ray_resources(allotment),
                    allotment.slots,
                    searcher,
                    RecordScheduler(conductor),
                    callback,
                    self._config.runtime.max_attempts,
                )
        return self._stop

    def _changed(self, trial: TrialSnapshot) -> None:
        self._projections.offer(trial)
        if trial.end is None:
            self._open.add(trial.card.trial_id)
        elif trial.card.trial_id in self._open:
            self._open.discard(trial.card.trial_id)
            self._view.trial_ended(trial, self._state())

    def _show(self) -> None:
        self._view.show(self._state())

    def _state(self) -> SearchState:
        conductor = self._conductor
        return SearchState(
            name=self._config.name,
            budget_trials=self._config.budget.trials,
            max_epochs=self._config.budget.max_epochs,
            trials=conductor.trials,
            running=conductor.running,
            slots=self._slots,
            started=self._began,
            deadline=self._stop.deadline,
            epochs_at_start=self._epochs_at_start,
        )


class _Assignment:
    """Turns a trial's card into what its worker needs to know."""

    def __init__(self, config: SearchConfig, folder: Storage, cache_dir: str, share: Share) -> None:
        self._config = config
        self._folder = folder
        self._cache_dir = cache_dir
        self._share = share

    def __call__(self, card: TrialCard) -> dict[str, Any]:
        from trainable import ray_trainable as keys

        # Where the data lie and how a trial is run may have changed since the trial was suggested.
        present = {"dataset": self._config.dataset, "runtime": self._config.runtime}
        trial = TrialConfig.model_validate(card.config | present)
        return {
            keys.TRIAL_ID: card.trial_id,
            keys.TRIAL_CONFIG: trial.model_dump_json(),
            keys.SEARCH_FOLDER: self._folder.url,
            keys.CACHE_DIR: self._cache_dir,
            keys.SHARE: asdict(self._share),
        }


def _ray_resources(allotment: Allotment) -> Mapping[str, float]:
    resources = {"CPU": allotment.share.cpus}
    return resources | ({"GPU": allotment.share.gpus} if allotment.share.gpus else {})
