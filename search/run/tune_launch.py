"""One run of Ray Tune over the record of a search, or of its confirmation."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from search.config.search_config import SearchConfig
from search.decide.conductor import Conductor
from search.decide.plan import Plan
from search.record.lease import Lease
from search.run.capacity import Capacity
from search.run.lost_machines import LostMachines
from search.run.ray_session import ray_session, run_tune
from search.run.resources import allot, ray_resources
from search.run.search_state import SearchState, SearchView
from search.run.stop_flag import StopFlag
from trainable.device import ResourceShare
from trainable.record.record_types import TrialSnapshot, TrialSpec
from trainable.record.storage import Storage
from trainable.trial_config import TrialConfig


class TuneLaunch:
    """One run of Tune over a conductor.

    Args:
        config: The search.
        name: What is run, for the view.
        plan: Which trials.
        folder: Where their record lies, changed under the lease alone.
        lease: Without it, the launch ends.
        fingerprint: Of the data that the search began with.
        view: Shows them.
        offer: Takes every new snapshot, for the projections.
    """

    def __init__(
        self,
        config: SearchConfig,
        name: str,
        plan: Plan,
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
        self._capacity: Capacity | None = None
        self._began = time.monotonic()
        self._stop = StopFlag(config.budget.hours)
        self._conductor = Conductor(plan, folder, self._changed, config.runtime.max_attempts)
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
            from search.run.autoscaler_request import AutoscalerRequest
            from search.run.tune_adaptors import DriverCallback, RecordScheduler, RecordSearcher, SearchStopped
            from trainable.ray_trainable import SegmentationTrainable

            config = self._config
            allotment = allot(config.resources, cluster.machines, cluster.grown, config.runtime.precision)
            self._capacity = Capacity(conductor, cluster, allotment, AutoscalerRequest(allotment.share), self._view.say)
            self._began = time.monotonic()  # Ray's own start says nothing about how fast trials go
            assignment = _Assignment(config, self._folder, cache_dir, allotment.share, self._fingerprint)
            callback = DriverCallback(
                conductor,
                LostMachines(lambda: cluster.addresses, cluster.own_address, conductor.excuse, conductor.convict),
                60 * config.runtime.epoch_timeout_minutes,
                self._turn,
            )
            # What is durable is durable: a stop leaves Tune's loop at once, and the session's end ends the workers.
            try:
                run_tune(
                    trainable or SegmentationTrainable,
                    ray_resources(allotment.share),
                    RecordSearcher(conductor, self._capacity, assignment, callback.turn),
                    RecordScheduler(conductor, self._view.say),
                    callback,
                )
            except SearchStopped as stopped:
                if stopped.fault is not None:
                    raise stopped.fault from None
            finally:
                self._capacity.close()
        return self._stop

    def _changed(self, trial: TrialSnapshot) -> None:
        self._offer(trial)
        if trial.end is None:
            self._open.add(trial.spec.trial_id)
        elif trial.spec.trial_id in self._open:
            self._open.discard(trial.spec.trial_id)
            self._view.trial_ended(trial, self._state())

    def _turn(self) -> bool:
        """What is to be done again and again while trials run.

        Returns:
            Whether to go on.
        """
        if self._stop.reason() is not None:
            return False
        if not self._lease.held:
            self._lease.require_held()  # says who holds it; elsewhere it is asked for where something is written
        if self._capacity is not None:
            self._capacity.ask_for_machines()
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
            slots=0 if self._capacity is None else self._capacity.now,
            started=self._began,
            deadline=self._stop.deadline,
            epochs_at_start=self._epochs_at_start,
            objectives=self._config.objectives,
        )


class _Assignment:
    """Turns a trial's spec into what its worker needs to know."""

    def __init__(
        self, config: SearchConfig, folder: Storage, cache_dir: str, share: ResourceShare, fingerprint: str
    ) -> None:
        self._config = config
        self._folder = folder
        self._cache_dir = cache_dir
        self._share = share
        self._fingerprint = fingerprint

    def __call__(self, spec: TrialSpec) -> dict[str, Any]:
        from trainable import ray_trainable as keys

        # Where the data lie and how a trial is run may have changed since the trial was suggested.
        present = {"dataset": self._config.dataset, "runtime": self._config.runtime}
        trial = TrialConfig.model_validate(spec.config | present)
        return {
            keys.TRIAL_ID: spec.trial_id,
            keys.TRIAL_CONFIG: trial.model_dump_json(),
            keys.SEARCH_FOLDER: self._folder.url,
            keys.CACHE_DIR: self._cache_dir,
            keys.SHARE: asdict(self._share),
            keys.MEASURE_VAL: bool(spec.confirms),
            keys.DATA_OF: (self._config.folder, self._fingerprint),
        }
