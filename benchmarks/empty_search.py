"""A search of trials whose training is empty: what is left is what a search costs around its training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from aerosweep.terminal.progress import PlainView
from benchmarks.made_up_metrics import EPOCHS, made_up_metrics
from search.config.search_config import SearchConfig
from search.run.launch import SearchOutcome, run_search
from search.run.search_state import SearchView
from trainable.data.trial_data import TrialData
from trainable.device import Compute
from trainable.ray_trainable import SegmentationTrainable
from trainable.training import EpochOutcome, State


class EmptyTraining:
    """Trains nothing and reports as much as a real trial."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def run_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> EpochOutcome:
        """Metrics made of the learning rate and the epoch."""
        return EpochOutcome(made_up_metrics(self._rate, epoch))

    def state(self) -> State:
        """Nothing."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing."""

    def weights(self) -> State:
        """None."""
        return {}


class EmptyTrainable(SegmentationTrainable):
    """The real trainable with empty training."""

    def build(self, config: Any, data: TrialData, compute: Compute) -> EmptyTraining:
        """In place of the network."""
        return EmptyTraining(config.optimizer.learning_rate)


def empty_search(trials: int, folder: Path, **changes: Any) -> SearchConfig:
    """The config of a search of empty trials.

    Args:
        trials: How many.
        folder: Where it is recorded, with MLflow's SQLite file beside it.
        changes: Further sections of the config.
    """
    values: dict[str, Any] = {
        "name": "empty",
        "dataset": {"layout": "synthetic", "images": 40, "size": "64x64"},
        "storage": str(folder),
        "space": {
            "model": {"encoder": "resnet18", "encoder_weights": "none"},
            "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-1}, "warmup_epochs": 0},
        },
        "budget": {"trials": trials, "max_epochs": EPOCHS},
        "scheduler": {"grace_epochs": 1, "reduction_factor": 3},
        "resources": {"cache_dir": str(folder / "cache")},
    }
    for section, keys in changes.items():
        values[section] = values.get(section, {}) | keys
    return SearchConfig.model_validate(values)


def run_empty(config: SearchConfig, *, resume: bool = False, view: SearchView | None = None) -> SearchOutcome:
    """Run it as `aerosweep search` does, without its lines."""
    view = view or PlainView(Console(quiet=True))
    return run_search(config, resume=resume, address=None, view=view, say=view.say, trainable=EmptyTrainable)
