"""Confirmation: the trials that matter, trained again from fresh seeds and measured once on val."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search.config.config_file import inlined
from search.config.search_config import SearchConfig
from search.decide.confirm_plan import FOLDER, Candidate, ConfirmPlan, candidates
from search.project.background_projection import BackgroundProjection
from search.project.retention import Retention
from search.project.search_projections import DRAIN_SECONDS, finish_in_time, kept, mlflow_projection, say_missing
from search.project.sync import sync
from search.project.tracking_uri import tracking_uri
from search.record.lease import Lease
from search.record.search_folder import SearchMeta, read_meta, startable
from search.run.preflight.machine_checks import check_machine
from search.run.search_state import SearchView
from search.run.tune_launch import TuneLaunch
from trainable.data.data_identity import DataIdentity, require_same_data
from trainable.data.files.cache_dir import default_cache_dir
from trainable.data.image_cache import Progress
from trainable.data.trial_data import open_trial_data
from trainable.errors import InputError
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials
from trainable.record.trial_words import model_and_loss


@dataclass(frozen=True)
class ConfirmOutcome:
    """What a launch of a confirmation leaves.

    Attributes:
        interrupted: Why the launch ended early, or None.
        signal: The signal that ended it, or None.
        left: Runs that have not ended.
    """

    interrupted: str | None
    signal: int | None
    left: int


def run_confirmation(
    config: SearchConfig,
    *,
    address: str | None,
    view: SearchView,
    say: Callable[[str], None],
    on_decode: Progress | None = None,
) -> ConfirmOutcome:
    """Confirm a search: run what its confirmation still lacks.

    Args:
        config: The search, with absolute paths; `confirm` says what is confirmed and how often.
        address: Of the Ray cluster, or None for this machine.
        view: Shows the runs.
        say: Prints a line for the user; called from other threads too.
        on_decode: Called with (images done, images in all) while the cache is built.

    Raises:
        InputError: There is no such search, it has nothing to confirm, or its data have changed.
    """
    config = inlined(config)
    folder = Storage(config.folder)
    meta = read_meta(folder)
    if meta is None:
        raise InputError(f"confirm needs a recorded search in {folder.url}", "none there", "Run the search first")
    tracking_uri(config.tracking, config.storage)  # refused before the images are decoded, not after
    config = startable(config, folder, True, say)
    check_machine(config.runtime, address, say)
    cache_dir = config.resources.cache_dir or default_cache_dir()
    data = open_trial_data(config.dataset, cache_dir, on_decode, say)
    require_same_data(folder, meta.data_fingerprint, DataIdentity.of(data))
    with Lease(folder, say) as lease:
        trials = load_trials(folder)
        chosen = candidates(trials, config.confirm)
        if not chosen:
            raise InputError(
                "confirm needs a trial that has ended and neither failed nor diverged",
                f"{len(trials)} trials, none of them so",
                "Continue the search with --resume, or mend what made its trials fail",
            )
        for line in plan_lines(config, trials, chosen):
            say(line)
        return _run(config, meta, lease, chosen, address, str(cache_dir), view, say)


def _run(
    config: SearchConfig,
    meta: SearchMeta,
    lease: Lease,
    chosen: Sequence[Candidate],
    address: str | None,
    cache_dir: str,
    view: SearchView,
    say: Callable[[str], None],
) -> ConfirmOutcome:
    projections = _Projections(config, lease.folder, meta, say)
    plan = ConfirmPlan(config, chosen)
    try:
        launch = TuneLaunch(
            config,
            f"{config.name}, confirmation",
            plan,
            lease.folder.child(FOLDER),
            lease,
            meta.data_fingerprint,
            view,
            projections.offer,
        )
        stop = launch.run(address, cache_dir)
    finally:
        if lease.held:
            projections.close()
    lease.require_held()  # else the other driver's outcome would pass for this one's
    return ConfirmOutcome(
        interrupted=stop.reason() if launch.left else None,
        signal=stop.signal.value if stop.signal and launch.left else None,
        left=launch.left,
    )


def plan_lines(config: SearchConfig, trials: Sequence[TrialSnapshot], chosen: Sequence[Candidate]) -> list[str]:
    """What will be done, for the user.

    Args:
        config: The search.
        trials: All of its trials.
        chosen: Those that are confirmed.
    """
    seeds = config.confirm.seeds
    lines = [
        f"confirming {len(chosen)} configurations x {seeds} fresh seeds, {config.budget.max_epochs} epochs each, "
        "every one measured once on val"
    ]
    lines += [
        f"  {c.trial.spec.trial_id} {model_and_loss(c.trial.spec.config)} ({', '.join(c.reasons)})" for c in chosen
    ]
    unfinished = config.most_trials - sum(trial.end is not None for trial in trials)
    if unfinished > 0:
        lines.append(f"note: the search has {unfinished} trials of its budget to go: the choice may change")
    if seeds == 1:
        lines.append("note: from a single seed nothing can be said about a difference; two is the least, three better")
    return lines


class _Projections:
    """MLflow and what is kept on disk, following a confirmation."""

    def __init__(self, config: SearchConfig, folder: Storage, meta: SearchMeta, say: Callable[[str], None]) -> None:
        self._config = config
        self._folder = folder
        self._meta = meta
        self._say = say
        self._runs = folder.child(FOLDER)
        self._mlflow = mlflow_projection(config, self._runs, meta)
        # The weights of all runs stay: a confirmed network is what one goes on to use.
        retention = Retention(self._runs, lambda runs: {run.spec.trial_id for run in runs})
        self._threads = [BackgroundProjection(each, say) for each in (self._mlflow, retention)]

    def offer(self, run: TrialSnapshot) -> None:
        for thread in self._threads:
            thread.offer(run)

    def close(self) -> None:
        runs = load_trials(self._runs)
        self._mlflow.forget()
        for run in runs:
            self.offer(run)
        missing, _ = (thread.close(DRAIN_SECONDS) for thread in self._threads)
        if missing:
            say_missing(f"{missing} of {len(runs)} runs of the confirmation", self._say)
        else:
            finish_in_time(lambda: self._finish(runs), self._say)

    def _finish(self, runs: Sequence[TrialSnapshot]) -> None:
        """Say how it ended, and fill in what MLflow may have missed of the search itself."""
        self._mlflow.close_interrupted(runs)
        search = mlflow_projection(self._config, self._folder, self._meta)
        sync(self._folder, search, kept(self._config, load_trials(self._folder)), live=False)
