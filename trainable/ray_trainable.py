"""The one module of this package that knows Ray: a trial run as a class Trainable that is used again and again."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ray import tune

from trainable.config import TrialConfig
from trainable.device import Compute, Share, choose_compute, free_memory, limit_process, settle_process
from trainable.storage import Storage
from trainable.training import Training
from trainable.trial_data import TrialData, reuse_trial_data
from trainable.trial_record import TrialRecord
from trainable.trial_run import Place, Trainer, TrialRun

# What the driver puts into a Tune trial's config.
TRIAL_ID: Final = "aerosweep_trial"
TRIAL_CONFIG: Final = "aerosweep_config"
SEARCH_FOLDER: Final = "aerosweep_folder"
CACHE_DIR: Final = "aerosweep_cache"
SHARE: Final = "aerosweep_share"
HELD_OUT: Final = "aerosweep_held_out"
# What an epoch's result carries back.
EPOCH: Final = "epoch"
RECORD: Final = "record"


class SegmentationTrainable(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """A trial; each `step` is an epoch.

    `reset_config` only takes the config, because an exception in it is not retried by Tune; the first `step` builds.
    Tune's own checkpoints are not used: whenever and wherever a trial is started, it continues from its record.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take a trial's config."""
        settle_process()
        self._run: TrialRun | None = None
        self._assignment = config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial's config and free what the last one held."""
        self._free()
        self._assignment = new_config
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch and return its record."""
        if self._run is None:
            self._run = self._start()
        record = self._run.step()
        if self._assignment[HELD_OUT]:
            # Before the last epoch is reported: the driver ends a confirmation when it has been measured.
            self._run.measure_held_out()
        return {EPOCH: record.epoch, "objective": record.objective, RECORD: json.dumps(asdict(record))}

    def cleanup(self) -> None:
        """Free what the trial held."""
        self._free()

    def _start(self) -> TrialRun:
        assignment = self._assignment
        config = TrialConfig.model_validate_json(assignment[TRIAL_CONFIG])
        share = Share(**assignment[SHARE])
        compute = choose_compute(config.runtime.precision, share)
        limit_process(share)
        data = reuse_trial_data(config.dataset, Path(assignment[CACHE_DIR]))
        return TrialRun(
            TrialRecord(Storage(assignment[SEARCH_FOLDER]), assignment[TRIAL_ID]),
            self.build(config, data, compute),
            config.objective,
            tuple(entry.name for entry in data.image_set.classes),
            Place(compute.name),
            config.max_epochs,
        )

    def build(self, config: TrialConfig, data: TrialData, compute: Compute) -> Trainer:
        """The training loop; a benchmark puts an empty one here."""
        return Training(config, data, compute)

    def _free(self) -> None:
        self._run = None
        free_memory()
