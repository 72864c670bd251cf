"""The one module of this package that knows Ray: a trial run as a class Trainable that is used again and again."""

import json
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ray import tune

from trainable.data.data_identity import DataIdentity, require_same_data
from trainable.data.trial_data import TrialData, reuse_trial_data
from trainable.device import Compute, ResourceShare, choose_compute, free_memory, limit_process, settle_process
from trainable.errors import InputError, SearchFaultError
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.training import Training
from trainable.trial_config import TrialConfig
from trainable.trial_run import Host, Trainer, TrialRun

# What the driver puts into a Tune trial's config.
TRIAL_ID: Final = "aerosweep_trial"
TRIAL_CONFIG: Final = "aerosweep_config"
SEARCH_FOLDER: Final = "aerosweep_folder"
CACHE_DIR: Final = "aerosweep_cache"
SHARE: Final = "aerosweep_share"
MEASURE_VAL: Final = "aerosweep_measure_val"
DATA_OF: Final = "aerosweep_data_of"
"""Folder of the search whose data these must be, and their fingerprint."""
# What an epoch's result carries back.
EPOCH: Final = "epoch"
RECORD: Final = "record"
NOTES: Final = "notes"
REFUSAL: Final = "refusal"
"""In the place of a record: why this trial cannot be trained."""
FAULT: Final = "fault"
"""In the place of a record: why the search as a whole cannot go on, as the three parts of an `InputError`."""


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
        try:
            return self._step()
        except SearchFaultError as fault:
            # As a result and not raised: the trial has not failed, and another start here or elsewhere would not help.
            parts = (f"{fault.rule} (node {socket.gethostname()})", str(fault.value), fault.remedy)
            return {EPOCH: 0, "objective": 0.0, FAULT: json.dumps(parts)}
        except InputError as error:
            # Another start would end the same way.
            return {EPOCH: 0, "objective": 0.0, REFUSAL: str(error)}

    def _step(self) -> dict[str, Any]:
        if self._run is None:
            self._run = self._start()
        record = self._run.step()
        if self._assignment[MEASURE_VAL]:
            # Before the last epoch is reported: the driver ends a confirmation when it has been measured.
            self._run.measure_val()
        return {
            EPOCH: record.epoch,
            "objective": record.objective,
            RECORD: json.dumps(asdict(record)),
            NOTES: json.dumps(self._run.take_notes()),
        }

    def cleanup(self) -> None:
        """Free what the trial held."""
        self._free()

    def _start(self) -> TrialRun:
        assignment = self._assignment
        config = TrialConfig.model_validate_json(assignment[TRIAL_CONFIG])
        share = ResourceShare(**assignment[SHARE])
        compute = choose_compute(config.runtime.precision, share)
        limit_process(share)
        data = self._open_data(config)
        return TrialRun(
            TrialRecord(Storage(assignment[SEARCH_FOLDER]), assignment[TRIAL_ID]),
            self.build(config, data, compute),
            config.objective,
            tuple(entry.name for entry in data.image_set.classes),
            Host(compute.name),
            config.max_epochs,
        )

    def _open_data(self, config: TrialConfig) -> TrialData:
        """The data, as the search began with them: a process that starts later may find them changed, or gone."""
        try:
            data = reuse_trial_data(config.dataset, Path(self._assignment[CACHE_DIR]))
        except InputError as error:
            raise SearchFaultError(error.rule, error.value, error.remedy) from error
        search, fingerprint = self._assignment[DATA_OF]
        require_same_data(Storage(search), fingerprint, DataIdentity.of(data))
        return data

    def build(self, config: TrialConfig, data: TrialData, compute: Compute) -> Trainer:
        """The training loop; a benchmark puts an empty one here."""
        return Training(config, data, compute)

    def _free(self) -> None:
        self._run = None
        free_memory()
