"""From the end of one trial to the first training step of the next, and what a process holds after 200 trials.

Ours is `aerosweep search` in one place: one warm process, the full record, MLflow on SQLite. The peer is a process a
trial, as Ray starts one for every trial of a function trainable: it imports torch and the model library, opens the same
decoded images and builds the same network. Both train the same configurations, and the dev mIoU of every trial must be
the same.

Memory is that of one process which trains trial after trial through the real trainable, without Ray: two networks in
turn, because memory that is freed in pieces of one size fits the next trial only if that is alike.

    python -m benchmarks.turnover --json benchmarks/results/turnover.json
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from benchmarks.result import Row, lower_is_better, publish, require
from benchmarks.timed_training import FOLDER, Span, TimedTrainable, read_spans
from search.config.search_config import SearchConfig
from search.run.launch import run_search
from trainable import ray_trainable as keys
from trainable.data.trial_data import reuse_trial_data
from trainable.device import ResourceShare
from trainable.ray_trainable import SegmentationTrainable
from trainable.record.record_types import TrialSnapshot
from trainable.trial_config import TrialConfig

_MODEL: Final = {"encoder": "tu-tf_mobilenetv3_small_100", "encoder_weights": "none"}
_ARCHITECTURES: Final = ("unet", "deeplabv3plus")
_DATASET: Final = {"layout": "synthetic", "images": 40, "size": "64x64"}
_BATCHES: Final = {"batch_size": 8, "crop": "32x32"}
_WARM: Final = 20
"""Trials until a process has whatever it keeps."""
_MAY_GROW_KB: Final = 50.0
"""A trial, by the slope: without a leak it was below 1."""


def time_ours(trials: int, share: ResourceShare, folder: Path) -> tuple[float, list[TrialSnapshot]]:
    """Median seconds between trials of one warm process, and the trials."""
    config = SearchConfig.model_validate(
        {
            "name": "ours",
            "dataset": _DATASET,
            "storage": str(folder),
            "space": {
                "model": _MODEL | {"architecture": "unet"},
                "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "warmup_epochs": 0},
                "data": _BATCHES,
            },
            "baselines": "none",
            "budget": {"trials": trials, "max_epochs": 1},
            "resources": {
                "cpus_per_trial": share.cpus,
                "gpus_per_trial": share.gpus,
                "max_concurrent": 1,
                "cache_dir": str(folder / "cache"),
            },
        }
    )
    view = PlainView(Console(quiet=True))
    outcome = run_search(config, resume=False, address=None, view=view, say=view.say, trainable=TimedTrainable)
    spans = read_spans(Path(outcome.folder, FOLDER))
    require(len(spans) == trials, f"ours trained {len(spans)} of {trials} trials")
    require(len({span.pid for span in spans}) == 1, "the process of ours was not kept")
    return between(spans), outcome.trials


def time_peer(trials: Sequence[TrialSnapshot], share: ResourceShare, folder: Path) -> float:
    """Median seconds between trials of a process each."""
    from ray import tune

    from benchmarks.ray_recipe import run_recipe
    from benchmarks.recipe_training import function_trainable, ray_share

    rate = "optimizer.learning_rate"
    run_recipe(
        function_trainable(trials, share, folder / "cache", folder / FOLDER),
        {rate: tune.grid_search([trial.spec.params[rate] for trial in trials])},
        ray_share(share),
        folder,
        max_concurrent_trials=1,
    )
    spans = read_spans(folder / FOLDER)
    require(len({span.pid for span in spans}) == len(trials), "the peer had no process a trial")
    expected = {trial.spec.trial_id: trial.epochs[0].metrics["miou"] for trial in trials}
    require({span.trial: span.miou for span in spans} == expected, "the peer did not train what ours trained")
    return between(spans)


def between(spans: Sequence[Span]) -> float:
    """Median seconds from the end of a trial to the first step of the next."""
    return statistics.median(after.first_step - before.ended for before, after in pairwise(spans))


def memory_of_trials(trials: int, share: ResourceShare, folder: Path) -> list[float]:
    """Resident MB of one process after each of its trials."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_train_many, (trials, share, folder))


def _train_many(trials: int, share: ResourceShare, folder: Path) -> list[float]:
    from ray.tune.trainable import trainable as ray_trainable

    # A trainable that no Tune has made would leave a folder a trial in the home folder.
    ray_trainable.DEFAULT_STORAGE_PATH = str(folder / "ray")
    trainable = SegmentationTrainable(config=_assignment(0, share, folder))
    resident = []
    for number in range(trials):
        result = trainable.train()
        require(keys.RECORD in result, f"trial {number} was not trained: {result}")
        trainable.reset(_assignment(number + 1, share, folder))
        resident.append(_resident_mb())
    return resident


def _assignment(number: int, share: ResourceShare, folder: Path) -> dict[str, Any]:
    """What the driver tells the worker of a trial."""
    architecture = _ARCHITECTURES[number % len(_ARCHITECTURES)]
    config = TrialConfig.model_validate(
        {
            "dataset": _DATASET,
            "model": _MODEL | {"architecture": architecture},
            "data": _BATCHES,
            "max_epochs": 1,
        }
    )
    data = reuse_trial_data(config.dataset, folder / "cache")
    return {
        keys.TRIAL_ID: f"t{number:04d}",
        keys.TRIAL_CONFIG: config.model_dump_json(),
        keys.SEARCH_FOLDER: str(folder / "memory"),
        keys.CACHE_DIR: str(folder / "cache"),
        keys.SHARE: {"cpus": share.cpus, "gpus": share.gpus},
        keys.MEASURE_VAL: False,
        keys.DATA_OF: (str(folder / "memory"), data.cache.fingerprint),
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory_row(resident: Sequence[float]) -> Row:
    """What a process holds at the end against what it held when it was warm.

    Raises:
        RuntimeError: It has grown.
    """
    warm, last = statistics.median(resident[_WARM : _WARM + 10]), statistics.median(resident[-10:])
    growth_kb = 1024 * float(np.polyfit(range(len(resident) - _WARM), resident[_WARM:], 1)[0])
    print(
        f"resident memory over {len(resident)} trials of one process: first {resident[0]:.0f} MB, after {_WARM} "
        f"{warm:.0f} MB, last {last:.0f} MB, {growth_kb:+.1f} KB a trial"
    )
    require(growth_kb < _MAY_GROW_KB, "a process grows with its trials")
    return lower_is_better(f"resident memory after {len(resident)} trials; peer: after {_WARM} [MB]", last, warm)


def main() -> None:
    """Time both, measure the memory, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--trials", type=int, default=30, help="of ours")
    parser.add_argument("--peer-trials", type=int, default=6)
    parser.add_argument("--memory-trials", type=int, default=200)
    options = parser.parse_args()
    share = ResourceShare(1, 1 if options.device == "cuda" else 0)
    with tempfile.TemporaryDirectory(prefix="turnover-") as name:
        ours, trials = time_ours(options.trials, share, Path(name))
        peer = time_peer(trials[: options.peer_trials], share, Path(name))
        resident = memory_of_trials(options.memory_trials, share, Path(name))
    case = f"end of a trial to the first step of the next; peer: a process a trial, {options.device} [s]"
    publish("turnover", [lower_is_better(case, ours, peer), memory_row(resident)], options.json)


if __name__ == "__main__":
    main()
