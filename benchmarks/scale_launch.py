"""One launch of `benchmarks.scale`, in a process of its own: runs it, and writes down what it knows of itself."""

import argparse
import cProfile
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from aerosweep.terminal.progress import PlainView
from benchmarks.empty_search import empty_search, run_empty
from search.config.search_config import SearchConfig
from search.decide.search_plan import SearchPlan
from search.project.mlflow_projection import MlflowProjection
from search.run.search_state import SearchState
from trainable.record.record_types import TrialSnapshot
from trainable.record.storage import Storage

LAST: Final = 100
"""Medians are of so many trials, the last."""

SUGGESTIONS: Final = 20

SPACE: Final = {
    "model": {"encoder": "resnet18", "encoder_weights": "none"},
    "loss": {
        "name": ["cross_entropy", "focal", "dice", "iou", "tversky"],
        "alpha": {"low": 0.1, "high": 1.0},
        "beta": {"low": 0.1, "high": 1.0},
        "gamma": {"low": 0.5, "high": 2.0},
        "focal_gamma": {"low": 0.25, "high": 3.0},
    },
    "optimizer": {
        "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "warmup_epochs": 0,
    },
    "data": {"rare_class_first": {"low": 0.0, "high": 0.5}},
}


def search_config(trials: int, slots: int, folder: Path) -> SearchConfig:
    """The search; its trials share the cores, however many they are."""
    share = (os.cpu_count() or 1) / slots
    resources = {"cpus_per_trial": share if share < 1 else int(share), "gpus_per_trial": 0, "max_concurrent": slots}
    return empty_search(trials, folder, space=SPACE, resources=resources)


class Watch(PlainView):
    """Shows nothing, and notes what CPU time the driver's loop has used when a trial ends."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))
        self.cpu: list[float] = []

    def trial_ended(self, snapshot: TrialSnapshot, state: SearchState) -> None:
        """Called on the loop's own thread."""
        super().trial_ended(snapshot, state)
        self.cpu.append(time.thread_time())


def run(config: SearchConfig, slots: int, resume: bool) -> dict[str, Any]:
    """Run a launch, and tell its figures (`benchmarks.scale.Row`)."""
    known = set(Storage(config.folder).child("trials").names())
    tracked, watch = watch_mlflow(), Watch()
    outcome = run_empty(config, resume=resume, view=watch)
    returned, driver = time.time(), peak_memory()
    new = [trial for trial in outcome.trials if trial.spec.trial_id not in known]
    ends = {trial.spec.trial_id: trial.end.time_ms / 1000 for trial in new if trial.end}
    assert len(ends) == len(new), "a trial has not ended"
    last = sorted(ends, key=ends.__getitem__)[-LAST:]
    return {
        "overhead": seconds_a_trial(sorted(ends.values()), slots),
        "cpu": seconds_a_trial(watch.cpu, slots),
        "epochs": statistics.mean(len(trial.epochs) for trial in new if trial.spec.trial_id in last),
        "suggestions": suggestion_times(config, outcome.trials),
        "lag": statistics.median(tracked.get(trial_id, returned) - ends[trial_id] for trial_id in last),
        "behind": sum(tracked.get(trial_id, returned) > max(ends.values()) for trial_id in ends),
        "missing": len(ends.keys() - tracked.keys()),
        "end": returned - max(ends.values()),
        "driver": driver,
        "first_start": min(first_start(config, trial) for trial in new),
    }


def watch_mlflow() -> Mapping[str, float]:
    """When MLflow has all of a trial, by its id: filled in while the launch runs."""
    tracked: dict[str, float] = {}
    project = MlflowProjection.project

    def watched(self: MlflowProjection, trial: TrialSnapshot) -> None:
        project(self, trial)
        if trial.end is not None:
            tracked.setdefault(trial.spec.trial_id, time.time())

    MlflowProjection.project = watched  # type: ignore[method-assign]
    return tracked


def seconds_a_trial(ends: Sequence[float], slots: int) -> float:
    """Time a trial, median of the last: ends come in bursts, so over as many ends as there are slots."""
    spans = [after - before for before, after in zip(ends, ends[slots:], strict=False)]
    return statistics.median(spans[-LAST:]) / slots


def suggestion_times(config: SearchConfig, trials: Sequence[TrialSnapshot]) -> list[float]:
    """Seconds for each of some suggestions, one after the other, from the whole record."""
    longer = config.model_copy(
        update={"budget": config.budget.model_copy(update={"trials": len(trials) + SUGGESTIONS})}
    )
    plan = SearchPlan(longer)
    known = {trial.spec.trial_id: trial for trial in trials}
    times = []
    for _ in range(SUGGESTIONS):
        began = time.perf_counter()
        spec = plan.next_spec(known, len(known))
        times.append(time.perf_counter() - began)
        assert spec is not None
        known[spec.trial_id] = TrialSnapshot(spec)
    return times


def first_start(config: SearchConfig, trial: TrialSnapshot) -> float:
    """When a process first took the trial, by its record."""
    start = Storage(config.folder).read(f"trials/{trial.spec.trial_id}/attempts/0001.json")
    return float(json.loads(start or b"{}")["time_ms"]) / 1000


def peak_memory() -> float:
    """Of this process, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1000


def main() -> None:
    """Run one launch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("told", type=Path, help="the file to write")
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--profile", type=Path, help="file for cProfile's statistics of the main thread")
    options = parser.parse_args()
    config = search_config(options.trials, options.slots, options.folder)
    profile = cProfile.Profile()
    if options.profile:
        profile.enable()
    told = run(config, options.slots, options.resume)
    if options.profile:
        profile.dump_stats(options.profile)
    options.told.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
