"""What a search costs around its training: trials whose training is empty, recorded in full.

Ours is `aerosweep search` with its record, MLflow on SQLite, the Optuna journal, ASHA and TPE. The peer is what Ray's
documentation has a user write: a function trainable, OptunaSearch, ASHA, MLflowLoggerCallback, SQLite, the same
metrics. It is timed twice: with processes that import torch and the model library, which ours hold too and every
trial that trains must, and with processes that import Ray alone, as no trial of a search would.
Both are timed from their first trial to the end, so that neither pays for starting Ray or creating a database; ours
pays for starting its two processes, which take all its trials, and for ending Ray.

    python -m benchmarks.orchestration --json benchmarks/results/orchestration.json
"""

import argparse
import importlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.empty_search import empty_search, run_empty
from benchmarks.made_up_metrics import EPOCHS, METRICS, made_up_metrics
from benchmarks.ray_recipe import EXPERIMENT, run_recipe, tracking_uri
from benchmarks.result import lower_is_better, publish, require

PEERS: Final[dict[str, tuple[str, ...]]] = {
    "torch and the model library imported": ("torch", "segmentation_models_pytorch"),
    "Ray alone imported": (),
}


def time_ours(trials: int, folder: Path) -> float:
    """Seconds a trial of `aerosweep search`."""
    outcome = run_empty(empty_search(trials, folder / "ours"))
    ended = time.time()
    for trial in outcome.trials:
        require(trial.end is not None, f"{trial.spec.trial_id} has not ended")
        _require_metrics(trial.epochs[-1].metrics, trial.spec.params["optimizer.learning_rate"], len(trial.epochs))
    _require_tracked(outcome.tracking_uri, "aerosweep", trials + 1)  # the search is a run, too
    return (ended - outcome.trials[0].spec.created_ms / 1000) / trials


def time_peer(trials: int, folder: Path, imports: Sequence[str]) -> float:
    """Seconds a trial of the documented recipe, whose processes import something."""
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    def train(config: dict[str, Any]) -> None:
        for module in imports:
            importlib.import_module(module)
        for epoch in range(1, EPOCHS + 1):
            tune.report(made_up_metrics(config["learning_rate"], epoch))

    run = run_recipe(
        train,
        {"learning_rate": tune.uniform(1e-4, 1e-1)},
        {"cpu": 1},
        folder,
        metric="miou",
        mode="max",
        num_samples=trials,
        search_alg=OptunaSearch(sampler=optuna.samplers.TPESampler(seed=0)),
        scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
    )
    for config, result in run.results:
        _require_metrics(result, config["learning_rate"], result["training_iteration"])
    _require_tracked(tracking_uri(folder), EXPERIMENT, trials)
    return run.seconds / trials


def _require_metrics(found: dict[str, Any], rate: float, epoch: int) -> None:
    expected = made_up_metrics(rate, epoch)
    require(expected.items() <= found.items(), f"epoch {epoch} at {rate} was recorded as {found}")


def _require_tracked(uri: str, experiment: str, runs: int) -> None:
    """Check that MLflow has every run, ended."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    ended = [run for run in client.search_runs([found.experiment_id]) if run.info.end_time]
    require(len(ended) == runs, f"{uri} has {len(ended)} runs that ended, not {runs}")


def main() -> None:
    """Time both, alternately, and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--trials", type=int, default=200, help="of ours, each run")
    parser.add_argument("--peer-trials", type=int, default=10, help="of the peer, each run")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    ours: list[float] = []
    peers: dict[str, list[float]] = {case: [] for case in PEERS}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="orchestration-") as name:
            ours.append(time_ours(options.trials, Path(name)))
            for place, (case, imports) in enumerate(PEERS.items()):
                folder = Path(name) / str(place)
                folder.mkdir()
                peers[case].append(time_peer(options.peer_trials, folder, imports))
    case = f"an empty trial of {EPOCHS} epochs, {METRICS} metrics, SQLite; peer: Ray's documented recipe"
    rows = [
        lower_is_better(f"{case}, {whose} [s]", statistics.median(ours), statistics.median(seconds))
        for whose, seconds in peers.items()
    ]
    publish("orchestration", rows, options.json)


if __name__ == "__main__":
    main()
