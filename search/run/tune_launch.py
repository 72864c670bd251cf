"""One run of Ray Tune over the record of a search, or of its confirmation."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from search.config.search_config import SearchConfig
from search.decide.conductor import Conductor
from search.decide.plan import Program
from search.record.lease import Lease
from search.run.capacity import Slots
from search.run.lost_machines import LostMachines
from search.run.ray_session import ray_session, run_tune
from search.run.resources import allot, ray_resources
from search.run.search_state import SearchState, SearchView
from search.run.stop_flag import StopFlag
from trainable.device import Share
from trainable.record.record_types import TrialCard, TrialSnapshot
from trainable.record.storage import Storage
from trainable.trial_config import TrialConfig


class TuneLaunch:
    """One run of Tune over a conductor.

    Args:
        config: The search.
        name: What is run, for the view.
        program: Which trials.
        folder: Where their record lies.
        lease: Without it, the launch ends.
        fingerprint: Of the data that the search began with.
        view: Shows them.
        offer: Takes every new snapshot, for the projections.
    """

    def __init__(
        self,
        config: SearchConfig,
        name: str,
        program: Program,
        folder: Storage,
        lease: Lease,
        fingerprint: str,
        view: SearchView,
        offer: Callable[[TrialSnapshot], None],
    ) -> None:
        self._config = config
        self._name = name
        self._folder = folder
        self._lease = lease
        self._fingerprint = fingerprint
        self._view = view
        self._offer = offer
        self._slots: Slots | None = None
        self._began = time.monotonic()
        self._stop = StopFlag(config.budget.hours)
        self._conductor = Conductor(program, folder, self._changed, config.runtime.max_attempts)
        self._open = {trial_id for trial_id, trial in self._conductor.trials.items() if trial.end is None}
        self._epochs_at_start = sum(len(trial.epochs) for trial in self._conductor.trials.values())

    @property
    def left(self) -> int:
        """Trials that have not ended, those to come included."""
        return self._conductor.left

    def run(self, address: str | None, cache_dir: str, trainable: type | None = None) -> StopFlag:
        """Run until done or stopped.

        Args:
            address: Of the Ray cluster, or None for this machine.
            cache_dir: Where nodes keep decoded images.
            trainable: A class Trainable in place of the real one, for benchmarks and tests.

        Raises:
            SearchFaultError: The search cannot go on: its storage fails, its data have changed, another took over.
        """
        conductor = self._conductor
        conductor.recover()
        if conductor.left == 0:
            return self._stop
        with ray_session(address) as cluster, self._stop.caught_signals():
            # Ray must not be imported before the session has set its environment.
            from search.run.autoscaler_request import Demand
            from search.run.tune_adaptors import DriverCallback, RecordScheduler, RecordSearcher, SearchStopped
            from trainable.ray_trainable import SegmentationTrainable

            config = self._config
            allotment = allot(config.resources, cluster.machines, cluster.grown, config.runtime.precision)
            self._slots = Slots(conductor, cluster, allotment, Demand(allotment.share), self._view.say)
            self._began = time.monotonic()  # Ray's own start says nothing about how fast trials go
            assignment = _Assignment(config, self._folder, cache_dir, allotment.share, self._fingerprint)
            callback = DriverCallback(
                conductor,
                LostMachines(lambda: cluster.addresses, conductor.excuse),
                60 * config.runtime.epoch_timeout_minutes,
                self._turn,
            )
            # What is durable is durable: a stop leaves Tune's loop at once, and the session's end ends the workers.
            try:
                run_tune(
                    trainable or SegmentationTrainable,
                    ray_resources(allotment.share),
                    RecordSearcher(conductor, self._slots, assignment),
                    RecordScheduler(conductor, self._view.say),
                    callback,
                )
            except SearchStopped as stopped:
                if stopped.fault is not None:
                    raise stopped.fault from None
            finally:
                self._slots.close()
        return self._stop

    def _changed(self, trial: TrialSnapshot) -> None:
        self._offer(trial)
        if trial.end is None:
            self._open.add(trial.card.trial_id)
        elif trial.card.trial_id in self._open:
            self._open.discard(trial.card.trial_id)
            self._view.trial_ended(trial, self._state())

    def _turn(self) -> bool:
        """What is to be done again and again while trials run.

        Returns:
            Whether to go on.
        """
        if self._stop.reason() is not None:
            return False
        self._lease.require_held()
        if self._slots is not None:
            self._slots.ask_for_machines()
        self._view.show(self._state())
        return True

    def _state(self) -> SearchState:
        conductor = self._conductor
        return SearchState(
            name=self._name,
            budget_trials=conductor.total,
            max_epochs=self._config.budget.max_epochs,
            trials=conductor.trials,
            running=conductor.running,
            slots=0 if self._slots is None else self._slots.now,
            started=self._began,
            deadline=self._stop.deadline,
            epochs_at_start=self._epochs_at_start,
            objectives=self._config.objectives,
        )


class _Assignment:
    """Turns a trial's card into what its worker needs to know."""

    def __init__(self, config: SearchConfig, folder: Storage, cache_dir: str, share: Share, fingerprint: str) -> None:
        self._config = config
        self._folder = folder
        self._cache_dir = cache_dir
        self._share = share
        self._fingerprint = fingerprint

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
            keys.HELD_OUT: bool(card.confirms),
            keys.DATA_OF: (self._config.folder, self._fingerprint),
        }
