"""A function trainable that trains what our trials train: the real training inside of Ray's documented recipe."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from benchmarks.timed_training import TimedTraining
from trainable.data.trial_data import open_trial_data
from trainable.device import ResourceShare, choose_compute, limit_process
from trainable.record.record_types import TrialSnapshot
from trainable.trial_config import TrialConfig


def function_trainable(
    trials: Sequence[TrialSnapshot], share: ResourceShare, cache_dir: Path, folder: Path
) -> Callable[[dict[str, Any]], None]:
    """What trains, at each of the points of `trials`, the configuration of that trial.

    Args:
        trials: Of a search of ours.
        share: Of a trial.
        cache_dir: With the decoded images.
        folder: Where the training notes its epochs.

    Returns:
        A function of a point (the searched values by flat key), to be run in a process of its own.
    """
    configs = {_key(trial.spec.params): (trial.spec.trial_id, trial.spec.config) for trial in trials}

    def train(point: dict[str, Any]) -> None:
        name, values = configs[_key(point)]
        config = TrialConfig.model_validate(values)
        limit_process(share)
        data = open_trial_data(config.dataset, cache_dir)
        training = TimedTraining(config, data, choose_compute(config.runtime.precision, share), folder, name)
        best = 0.0
        for epoch in range(1, config.max_epochs + 1):
            metrics = training.run_epoch(epoch, lambda: False).metrics
            best = max(best, metrics.get(config.objective, 0.0))
            tune.report(metrics | {"objective": best})

    return train


def _key(point: Mapping[str, Any]) -> str:
    return json.dumps(point, sort_keys=True)


def ray_share(share: ResourceShare) -> dict[str, float]:
    """A share by the names of Ray's recipe."""
    return {name.removesuffix("s"): value for name, value in asdict(share).items()}
