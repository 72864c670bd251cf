"""A launch of a search: the first, a resume and an extension are the same thing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import optuna

from search.config.config_file import inlined
from search.config.search_config import SearchConfig
from search.decide.search_plan import SearchPlan
from search.project.search_projections import SearchProjections, write_leaderboard
from search.project.tracking_uri import tracking_uri, ui_command
from search.record.lease import Lease
from search.record.search_folder import startable, write_search
from search.run.preflight.machine_checks import check_machine
from search.run.preflight.network_checks import evaluation_views
from search.run.preflight.search_checks import check_data, check_names, check_search
from search.run.search_state import SearchView
from search.run.tune_launch import TuneLaunch
from trainable.data.data_identity import DataIdentity
from trainable.data.files.cache_dir import default_cache_dir
from trainable.data.image_cache import Progress
from trainable.data.trial_data import open_trial_data
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

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
        SearchFaultError: The search cannot go on; what was recorded is whole, and a resume continues.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces every study, and we build one a suggestion
    config = inlined(config)
    folder = Storage(config.folder)
    uri, _ = tracking_uri(config.tracking, config.storage)  # refused before the images are decoded, not after
    config = startable(config, folder, resume, say)
    check_machine(config.runtime, address, say)
    cache_dir = config.resources.cache_dir or default_cache_dir()
    identity = _checked_data(config, cache_dir, say, on_decode)
    with Lease(folder, say) as lease:
        # Once more: while the images were decoded, another driver may have come and gone.
        startable(config, folder, resume, say)
        meta = write_search(config, lease.folder, identity)
        projections = SearchProjections(config, lease.folder, meta, say)
        plan = SearchPlan(config)
        try:
            launch = TuneLaunch(
                config, config.name, plan, lease.folder, lease, meta.data_fingerprint, view, projections.offer
            )
            stop = launch.run(address, str(cache_dir), trainable)
        finally:
            trials = load_trials(folder)
            if lease.held:
                projections.close(trials)
                write_leaderboard(lease.folder, trials, config.objectives)
        lease.require_held()  # else the other driver's outcome would pass for this one's
    return SearchOutcome(
        trials=trials,
        folder=config.folder,
        tracking_uri=uri,
        ui_command=ui_command(uri),
        interrupted=stop.reason() if launch.left else None,
        signal=stop.signal.value if stop.signal and launch.left else None,
        resume_needed=launch.left > 0,
    )


def _checked_data(
    config: SearchConfig, cache_dir: Path, say: Callable[[str], None], on_decode: Progress | None
) -> DataIdentity:
    """Open the images, check the search against them, and say what is to be known of them."""
    check_names(config.parsed_space)
    data = open_trial_data(config.dataset, cache_dir, on_decode, say)
    check_data(config, data)
    measured = [*data.splits.dev, *data.splits.val]
    check_search(config, data.num_classes, evaluation_views(data.cache.shapes[measured]))
    for note in (*data.warnings, *([_MADE_IMAGES] if config.dataset.is_made else [])):
        say(f"note: {note}")
    return DataIdentity.of(data)
