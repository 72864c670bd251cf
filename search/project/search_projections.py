"""The projections of a search, each on a thread of its own, and what is left to do when a launch ends."""

import subprocess
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from search.config.search_config import SearchConfig
from search.decide.confirm_plan import FOLDER, chosen_ids
from search.project.background_projection import BackgroundProjection, reason, within
from search.project.leaderboard import leaderboard, write_csv
from search.project.mlflow_projection import MlflowProjection, SearchIdentity
from search.project.optuna_journal import OptunaJournal
from search.project.retention import Retention
from search.project.sync import SyncReport, sync, sync_confirmation
from search.project.tracking_uri import tracking_uri
from search.record.search_folder import SearchMeta, read_meta
from search.record.signs_of_life import current_holder
from trainable.errors import InputError
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

LEADERBOARD_FILE: Final = "leaderboard.csv"

DRAIN_SECONDS: Final = 60.0
"""How long the end of a launch waits for a tracker before it leaves the rest to `aerosweep sync`."""

FINISH_SECONDS: Final = 300.0
"""How long a tracker that took all trials may take for the weights of the best and the state of the search."""


class SearchProjections:
    """MLflow, the Optuna journal and what is kept on disk, following a running search.

    Args:
        config: The search.
        folder: Its folder.
        meta: Its identity.
        say: Prints a line for the user; called from the threads.
    """

    def __init__(self, config: SearchConfig, folder: Storage, meta: SearchMeta, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say
        self._mlflow = mlflow_projection(config, folder, meta)
        self._journal = OptunaJournal(folder, config.name, config.parsed_space, config.objectives)
        self._retention = Retention(folder, lambda ended: kept(config, ended))
        self._threads = [BackgroundProjection(each, say) for each in (self._mlflow, self._journal, self._retention)]

    def offer(self, trial: TrialSnapshot) -> None:
        """Hand a trial's present state to all; returns at once."""
        for thread in self._threads:
            thread.offer(trial)

    def close(self, trials: Sequence[TrialSnapshot]) -> None:
        """Bring all to the final state of the launch, and wait for it as long as is reasonable.

        Args:
            trials: All trials, read from the record: workers may have written more than the driver saw.
        """
        self._mlflow.forget()
        for trial in trials:
            self.offer(trial)
        missing, *_ = (thread.close(DRAIN_SECONDS) for thread in self._threads)
        self._journal.close()
        if missing:
            say_missing(f"{missing} of {len(trials)} trials", self._say)
        else:
            finish = partial(self._mlflow.finish, trials, kept(self._config, trials), live=False)
            finish_in_time(finish, self._say)


def say_missing(what: str, say: Callable[[str], None]) -> None:
    """Tell the user what MLflow lacks at the end of a launch, and the remedy."""
    say(f"MLflow lacks {what}: run `aerosweep sync` with this config when it is back")


def finish_in_time(finish: Callable[[], object], say: Callable[[str], None]) -> None:
    """Say in MLflow how a launch has ended; where that fails or takes too long, the user is told what to do."""
    try:
        within(FINISH_SECONDS, finish)
    except Exception as error:  # a tracker may raise anything; the record is whole
        say_missing(f"the end of this launch ({reason(error)})", say)


def sync_search(config: SearchConfig, say: Callable[[str], None]) -> str:
    """Bring MLflow, the Optuna journal and the leaderboard in line with the record of a search.

    Changes nothing where nothing is missing.

    Returns:
        A summary for the user.

    Raises:
        InputError: There is no such search, or its tracker cannot be reached.
    """
    folder = Storage(config.folder)
    meta = read_meta(folder)
    if meta is None:
        raise InputError(f"sync needs a recorded search in {folder.url}", "none there", "Mend its name or --output")
    live = current_holder(folder, say) is not None
    if live:
        say("the search is running: what it has recorded so far is filled in")
    trials = load_trials(folder)
    _sync_files(config, folder, trials)
    projection = mlflow_projection(config, folder, meta)
    runs = folder.child(FOLDER)
    try:
        confirmation = sync_confirmation(runs, mlflow_projection(config, runs, meta), live)
        report = sync(folder, projection, kept(config, trials), live).with_confirmation(confirmation)
    except Exception as error:  # a tracker may raise anything
        raise InputError(
            f"sync needs {projection.name}", reason(error), "Start it, or name another with --set tracking.uri=URI"
        ) from error
    for trial_id, why in report.refused.items():
        say(f"{trial_id}: {projection.name} refuses it: {why}")
    return _summary(projection.name, report)


def _sync_files(config: SearchConfig, folder: Storage, trials: Sequence[TrialSnapshot]) -> None:
    journal = OptunaJournal(folder, config.name, config.parsed_space, config.objectives)
    for trial in trials:
        journal.project(trial)
    journal.close()
    write_leaderboard(folder, trials, config.objectives)


def write_leaderboard(folder: Storage, trials: Sequence[TrialSnapshot], objectives: Sequence[str]) -> None:
    """Write `leaderboard.csv` where it is not already as it should be."""
    table = write_csv(leaderboard(trials, objectives))
    if folder.read(LEADERBOARD_FILE) != table:
        folder.write(LEADERBOARD_FILE, table)


def _summary(name: str, report: SyncReport) -> str:
    if not (report.runs or report.epochs or report.weights):
        return f"{name} has all {report.trials} trials; nothing was missing"
    return (
        f"{name} had gaps: filled in {report.runs} runs, {report.epochs} epochs and the weights of "
        f"{report.weights} trials; it now has all {report.trials - len(report.refused)} trials"
    )


def mlflow_projection(config: SearchConfig, folder: Storage, meta: SearchMeta) -> MlflowProjection:
    """The MLflow projection of a search."""
    uri, artifacts = tracking_uri(config.tracking, config.storage)
    identity = SearchIdentity(
        search_id=meta.search_id,
        name=meta.name,
        config=config.resolved().model_dump(mode="json"),
        data_fingerprint=meta.data_fingerprint,
        git_commit=_git_commit(),
        objective=", ".join(config.objectives),
    )
    return MlflowProjection(uri, config.tracking.experiment, artifacts, identity, folder)


def kept(config: SearchConfig, trials: Iterable[TrialSnapshot]) -> set[str]:
    """Ids of the trials whose weights are kept: those that a confirmation would choose."""
    return chosen_ids(trials, config.confirm)


def _git_commit() -> str | None:
    """Of the working directory: the user's own code and configs, as MLflow tags it."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
