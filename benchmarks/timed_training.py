"""Real training that notes when it trains: what lies between is what a search costs around it."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from trainable.data.trial_data import TrialData
from trainable.device import Compute
from trainable.ray_trainable import SEARCH_FOLDER, TRIAL_ID, SegmentationTrainable
from trainable.training import EpochOutcome, Training
from trainable.trial_config import TrialConfig

FOLDER: Final = "spans"
"""Beside the record of a search."""


@dataclass(frozen=True)
class Span:
    """An epoch of a trial; times in seconds since 1970, all of one machine.

    Attributes:
        trial: Its name.
        epoch: From 1.
        pid: Of the process.
        first_step: When its first training step began.
        ended: When it had been evaluated.
        miou: On dev.
    """

    trial: str
    epoch: int
    pid: int
    first_step: float
    ended: float
    miou: float


class TimedTraining(Training):
    """Training that writes down its epochs.

    Args:
        config: What to train.
        data: The images, split.
        compute: Device and precision.
        folder: Where to write them.
        trial: Name of the trial.
    """

    def __init__(self, config: TrialConfig, data: TrialData, compute: Compute, folder: Path, trial: str) -> None:
        super().__init__(config, data, compute)
        self._folder = folder
        self._trial = trial

    def run_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> EpochOutcome:
        """Train and evaluate an epoch."""
        steps: list[float] = []

        def before_step() -> bool:
            steps.append(time.time())
            return should_stop()

        outcome = super().run_epoch(epoch, before_step)
        span = Span(self._trial, epoch, os.getpid(), steps[0], time.time(), outcome.metrics.get("miou", 0.0))
        self._folder.mkdir(parents=True, exist_ok=True)
        Path(self._folder, f"{self._trial}-{epoch:04d}.json").write_text(json.dumps(asdict(span)))
        return outcome


class TimedTrainable(SegmentationTrainable):
    """The real trainable with such training."""

    def build(self, config: TrialConfig, data: TrialData, compute: Compute) -> TimedTraining:
        """In place of the training that notes nothing."""
        folder = Path(self._assignment[SEARCH_FOLDER], FOLDER)
        return TimedTraining(config, data, compute, folder, self._assignment[TRIAL_ID])


def read_spans(folder: Path) -> list[Span]:
    """All epochs that were noted in a folder, in the order of their ends."""
    spans = [Span(**_values(path)) for path in folder.glob("*.json")]
    return sorted(spans, key=lambda span: span.ended)


def _values(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text())
    return values
