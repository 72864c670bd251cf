"""Ray's documented recipe for a search, the peer of what is measured around training.

What the guides of Ray Tune, Optuna and MLflow have a user write: a function trainable, which is a process a trial,
results by `tune.report`, MLflowLoggerCallback on SQLite. It keeps no checkpoints, which is in its favour.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

EXPERIMENT: Final = "peer"


@dataclass(frozen=True)
class RecipeRun:
    """A search that has been run.

    Attributes:
        seconds: From the start of its first trial to the end of its last, MLflow included.
        results: The config and the last result of each trial, in the order of their suggestion.
    """

    seconds: float
    results: list[tuple[dict[str, Any], dict[str, Any]]]


def run_recipe(
    train: Callable[[dict[str, Any]], None],
    param_space: Mapping[str, Any],
    share: Mapping[str, float],
    folder: Path,
    **tune_config: Any,
) -> RecipeRun:
    """Start Ray, run a search, end Ray.

    Args:
        train: A function trainable.
        param_space: As Ray writes it.
        share: Resources of a trial, by Ray's names.
        folder: Where results and database lie.
        tune_config: Of `ray.tune.TuneConfig`.

    Raises:
        RuntimeError: A trial has failed.
    """
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    class FirstTrial(tune.Callback):
        began: float | None = None

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            FirstTrial.began = FirstTrial.began or time.time()

    tracker = MLflowLoggerCallback(tracking_uri=tracking_uri(folder), experiment_name=EXPERIMENT)
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        grid = tune.Tuner(
            tune.with_resources(train, dict(share)),
            param_space=dict(param_space),
            tune_config=tune.TuneConfig(**tune_config),
            run_config=tune.RunConfig(
                storage_path=str(folder / "peer"), callbacks=[tracker, FirstTrial()], verbose=0, log_to_file=False
            ),
        ).fit()
        seconds = time.time() - (FirstTrial.began or 0)
    finally:
        ray.shutdown()
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # left by the callback, and the next search of ours would follow it
    if grid.errors:
        raise RuntimeError(f"a trial of the peer has failed: {grid.errors[0]}")
    return RecipeRun(seconds, [(result.config or {}, result.metrics or {}) for result in grid])


def tracking_uri(folder: Path) -> str:
    """Of the database that MLflow writes for a recipe run in a folder."""
    return f"sqlite:///{folder / 'peer.db'}"
