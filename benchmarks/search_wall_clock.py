"""A search of thirty short trials from its start to its end, against Ray's documented recipe with the same training.

Ours is `aerosweep search`: two warm processes, the full record, checkpoints, MLflow on SQLite. The peer trains the
very configurations that ours came to, in the same order, with the same code, stop rules (ASHA) and places: a function
trainable, OptunaSearch with `points_to_evaluate`, ASHAScheduler, MLflowLoggerCallback on SQLite. It opens the same
decoded images, which are there before either begins, and keeps no checkpoints.

What is checked: every epoch that both have trained has the same dev mIoU. ASHA decides as results come in, two trials
at once, so that a trial may be stopped by one and not by the other: both must have trained the same number of epochs
within a tenth.

The ratio depends on how long trials are. The second row is what either spends a trial outside of its epochs, in
seconds of one place; with it, for trials that train for `t` seconds, the ratio is (t + peer) / (t + ours).

    python -m benchmarks.search_wall_clock --json benchmarks/results/search_wall_clock.json
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from aerosweep.terminal.progress import PlainView
from benchmarks.result import lower_is_better, publish
from benchmarks.timed_training import FOLDER, Span, TimedTrainable, read_spans
from search.config.search_config import SearchConfig
from search.run.launch import run_search
from trainable.data.trial_data import open_trial_data
from trainable.device import ResourceShare
from trainable.record.record_types import TrialSnapshot

PLACES: Final = 2
_MAY_DIFFER: Final = 0.1


@dataclass(frozen=True)
class Timed:
    """A search that was run.

    Attributes:
        seconds: From its start, with that of Ray, to its return.
        spans: Its epochs.
    """

    seconds: float
    spans: Sequence[Span]

    @property
    def training(self) -> float:
        """Seconds of all epochs; two places have these side by side."""
        return sum(span.ended - span.first_step for span in self.spans)

    def around(self, trials: int) -> float:
        """Seconds of a place that a trial took outside of its epochs."""
        return (PLACES * self.seconds - self.training) / trials


def search_config(trials: int, epochs: int, share: ResourceShare, folder: Path) -> SearchConfig:
    """The search: two small networks on small made scenes."""
    return SearchConfig.model_validate(
        {
            "name": "ours",
            "dataset": {"layout": "synthetic", "scenes": 24, "size": "64x64"},
            "storage": str(folder),
            "space": {
                "model": {
                    "architecture": ["unet", "deeplabv3plus"],
                    "encoder": "tu-tf_mobilenetv3_small_100",
                    "encoder_weights": "none",
                },
                "loss": {
                    "name": "tversky",
                    "alpha": {"low": 0.1, "high": 1.0},
                    "beta": {"low": 0.1, "high": 1.0},
                    "gamma": {"low": 0.5, "high": 2.0},
                },
                "optimizer": {
                    "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
                    "weight_decay": {"low": 1e-5, "high": 1e-2, "log": True},
                },
                "data": {"batch_size": 8, "crop": "32x32", "rare_class_first": 0.5},
            },
            "baselines": "none",
            "budget": {"trials": trials, "max_epochs": epochs},
            "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
            "resources": {
                "cpus_per_trial": share.cpus,
                "gpus_per_trial": share.gpus,
                "max_concurrent": PLACES,
                "cache_dir": str(folder / "cache"),
            },
        }
    )


def time_ours(config: SearchConfig) -> tuple[Timed, list[TrialSnapshot]]:
    """Run ours."""
    view = PlainView(Console(quiet=True))
    began = time.perf_counter()
    outcome = run_search(config, resume=False, address=None, view=view, say=view.say, trainable=TimedTrainable)
    seconds = time.perf_counter() - began
    spans = read_spans(Path(outcome.folder, FOLDER))
    if sum(len(trial.epochs) for trial in outcome.trials) != len(spans):
        raise RuntimeError("not all epochs that were trained are in the record")
    return Timed(seconds, spans), outcome.trials


def time_peer(config: SearchConfig, trials: Sequence[TrialSnapshot], share: ResourceShare, folder: Path) -> Timed:
    """Run the documented recipe over the points of our trials."""
    began = time.perf_counter()
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from benchmarks.ray_recipe import run_recipe
    from benchmarks.recipe_training import function_trainable, ray_share

    budget, scheduler = config.budget, config.scheduler
    cache_dir = Path(str(config.resources.cache_dir))
    run_recipe(
        function_trainable(trials, share, cache_dir, folder / "spans"),
        {
            "model.architecture": tune.choice(["unet", "deeplabv3plus"]),
            "loss.alpha": tune.uniform(0.1, 1.0),
            "loss.beta": tune.uniform(0.1, 1.0),
            "loss.gamma": tune.uniform(0.5, 2.0),
            "optimizer.learning_rate": tune.loguniform(1e-3, 1e-2),
            "optimizer.weight_decay": tune.loguniform(1e-5, 1e-2),
        },
        ray_share(share),
        folder,
        metric="objective",
        mode="max",
        num_samples=len(trials),
        max_concurrent_trials=PLACES,
        search_alg=OptunaSearch(points_to_evaluate=[dict(trial.spec.params) for trial in trials]),
        scheduler=ASHAScheduler(
            max_t=budget.max_epochs,
            grace_period=config.first_rung,
            reduction_factor=scheduler.reduction_factor,
        ),
    )
    return Timed(time.perf_counter() - began, read_spans(folder / "spans"))


def require_same_result(ours: Timed, peer: Timed, trials: int) -> None:
    """Check that both have trained the same.

    Raises:
        RuntimeError: They have not.
    """
    found, expected = ({(span.trial, span.epoch): span.miou for span in timed.spans} for timed in (ours, peer))
    for timed in (found, expected):
        if len({trial for trial, _ in timed}) != trials:
            raise RuntimeError(f"not all of {trials} trials were trained")
    differing = [key for key in found.keys() & expected.keys() if found[key] != expected[key]]
    if differing:
        raise RuntimeError(f"dev mIoU differs in {len(differing)} epochs, such as {differing[0]}")
    if abs(len(found) - len(expected)) > _MAY_DIFFER * len(expected):
        raise RuntimeError(f"ours trained {len(found)} epochs, the peer {len(expected)}")


def compare(trials: int, epochs: int, share: ResourceShare, folder: Path) -> tuple[Timed, Timed]:
    """Run both, ours first, because it says which points there are."""
    config = search_config(trials, epochs, share, folder)
    open_trial_data(config.dataset, Path(str(config.resources.cache_dir)))
    ours, ended = time_ours(config)
    peer = time_peer(config, ended, share, folder)
    require_same_result(ours, peer, trials)
    return ours, peer


def main() -> None:
    """Run both and publish, of several runs the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: two trials share a GPU")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=4, help="of a trial that is not stopped early")
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    share = ResourceShare(1, 1 / PLACES if options.device == "cuda" else 0)
    runs = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory(prefix="search-wall-clock-") as name:
            runs.append(compare(options.trials, options.epochs, share, Path(name)))
    _publish(runs, options)


def _publish(runs: Sequence[tuple[Timed, Timed]], options: Any) -> None:
    def medians(*figures: tuple[float, float]) -> tuple[float, float]:
        ours, peer = zip(*figures, strict=True)
        return statistics.median(ours), statistics.median(peer)

    epochs = medians(*((len(ours.spans), len(peer.spans)) for ours, peer in runs))
    training = medians(*((ours.training / options.trials, peer.training / options.trials) for ours, peer in runs))
    print(f"epochs trained: ours {epochs[0]:g}, peer {epochs[1]:g}")
    print(f"seconds of training a trial: ours {training[0]:.2f}, peer {training[1]:.2f}")
    against = f"peer: Ray's documented recipe, {options.device}"
    around = medians(*((ours.around(options.trials), peer.around(options.trials)) for ours, peer in runs))
    rows = [
        lower_is_better(
            f"a search of {options.trials} trials of {training[0]:.2g} s, start to end; {against} [s]",
            *medians(*((ours.seconds, peer.seconds) for ours, peer in runs)),
        ),
        lower_is_better(f"of that, a trial, around its epochs; {against} [s of one place]", *around),
    ]
    publish("search_wall_clock", rows, options.json)


if __name__ == "__main__":
    main()
