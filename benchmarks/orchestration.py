"""What a search costs around its training: trials whose training is empty, recorded in full.

Ours is `aerosweep search` with its record, MLflow on SQLite, the Optuna journal, ASHA and TPE. The peer is what Ray's
documentation has a user write: a function trainable, OptunaSearch, ASHA, MLflowLoggerCallback, SQLite, the same
metrics.
Both are timed from their first trial to the return, so that neither pays for starting Ray or creating a database.

    python -m benchmarks.orchestration --json benchmarks/results/orchestration.json
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.empty_search import EPOCHS, METRICS, empty_search, made_up_metrics, run_empty
from benchmarks.result import lower_is_better, publish


def time_ours(trials: int, folder: Path) -> float:
    """Seconds a trial of `aerosweep search`."""
    outcome = run_empty(empty_search(trials, folder / "ours"))
    ended = time.time()
    assert all(trial.end for trial in outcome.trials)
    return (ended - outcome.trials[0].card.created_ms / 1000) / trials


def time_peer(trials: int, folder: Path) -> float:
    """Seconds a trial of the documented recipe."""
    import optuna
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    class FirstTrial(tune.Callback):
        began: float | None = None

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            FirstTrial.began = FirstTrial.began or time.time()

    def train(config: dict[str, Any]) -> None:
        for epoch in range(1, EPOCHS + 1):
            tune.report(made_up_metrics(config["learning_rate"], epoch))

    uri = f"sqlite:///{folder / 'peer.db'}"
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={"learning_rate": tune.uniform(1e-4, 1e-1)},
            tune_config=tune.TuneConfig(
                metric="miou",
                mode="max",
                num_samples=trials,
                search_alg=OptunaSearch(sampler=optuna.samplers.TPESampler(seed=0)),
                scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
            ),
            run_config=tune.RunConfig(
                storage_path=str(folder / "peer"),
                callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="peer"), FirstTrial()],
                verbose=0,
            ),
        ).fit()
        return (time.time() - (FirstTrial.began or 0)) / trials
    finally:
        ray.shutdown()


def main() -> None:
    """Time both, alternately, and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--trials", type=int, default=100, help="of ours, each run")
    parser.add_argument("--peer-trials", type=int, default=20, help="of the peer, each run")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    ours, peer = [], []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="orchestration-") as name:
            ours.append(time_ours(options.trials, Path(name)))
            peer.append(time_peer(options.peer_trials, Path(name)))
    row = lower_is_better(
        f"an empty trial of {EPOCHS} epochs, {METRICS} metrics, SQLite [s]",
        statistics.median(ours),
        statistics.median(peer),
    )
    publish("orchestration", [row], options.json)


if __name__ == "__main__":
    main()
