"""What a launch works through: the trials of a search, or the runs of a confirmation."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from trainable.record.record_types import EndReason, EpochRecord, TrialSnapshot, TrialSpec

Ending = tuple[EndReason, str]
"""Why a trial ends, for the record and for a person."""


class Plan(Protocol):
    """Which trials there are to be, and which of them go on; asked by the conductor, which keeps the record."""

    def total(self, known: Mapping[str, TrialSnapshot]) -> int:
        """How many trials there will be in all, those of earlier launches included."""
        ...

    def next_spec(self, known: Mapping[str, TrialSnapshot], number: int) -> TrialSpec | None:
        """The next trial that is not known yet, to be called by `number`, or None when there are to be no more."""
        ...

    def judges(self, epoch: int) -> bool:
        """Whether trials are compared with others at an epoch."""
        ...

    def remember(self, trial_id: str, epochs: Iterable[EpochRecord]) -> None:
        """Take note of epochs that were judged before, or that nobody judged."""
        ...

    def stops(self, trial: TrialSnapshot, epoch: EpochRecord) -> Ending | None:
        """Whether a trial ends early with an epoch at which trials are compared, and why; asked once."""
        ...

    def ended(self, trial: TrialSnapshot) -> Ending | None:
        """How a trial has ended by its record alone, or None where something is left to be done."""
        ...


def ended_by_epochs(trial: TrialSnapshot, max_epochs: int) -> Ending | None:
    """How a trial has ended by its epochs alone, or None where it can go on."""
    if not trial.epochs:
        return None
    last = trial.epochs[-1]
    if last.diverged is not None:
        return "diverged", last.diverged
    if last.epoch >= max_epochs:
        return "completed", f"trained {max_epochs} epochs"
    return None
