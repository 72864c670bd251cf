"""What the record of a trial is made of, as data; `trial_record` reads and writes it."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from trainable.record.tags import ROLE_CONFIRM, ROLE_TRIAL

EndReason = Literal["completed", "pruned", "diverged", "failed"]


def trial_name(number: int) -> str:
    """The id of the trial that was suggested as number `number`, from 0."""
    return f"t{number:04d}"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch left behind.

    Attributes:
        epoch: 1 for the first.
        time_ms: When it was recorded, milliseconds since 1970.
        objective: Best value of the objective so far, finite; 0 once the trial has diverged.
        best_epoch: The epoch that holds that best.
        metrics: Finite values by name; a metric that does not exist in an epoch (the IoU of a class that never
            occurs) is left out.
        attempt: Which start of the trial trained it, from 1.
        node: Host name.
        device: `cpu` or the GPU's name.
        diverged: Why the trial cannot go on, or None.
        start: Number of the start that trained it, from 1, which names its files; 0 in records of format 1.
    """

    epoch: int
    time_ms: int
    objective: float
    best_epoch: int
    metrics: dict[str, float]
    attempt: int = 1
    node: str = ""
    device: str = ""
    diverged: str | None = None
    start: int = 0


@dataclass(frozen=True)
class EndMarker:
    """How a trial ended; `history` makes its epoch records redundant.

    Attributes:
        reason: completed, pruned, diverged or failed.
        detail: Why, for a person.
        time_ms: When, milliseconds since 1970.
        attempts: Starts of the trial.
        history: All durable epochs, in order.
    """

    reason: EndReason
    detail: str
    time_ms: int
    attempts: int
    history: tuple[EpochRecord, ...]


@dataclass(frozen=True)
class TrialSpec:
    """What was suggested: the part of the record that exists from the start.

    Attributes:
        trial_id: Ours, `t0007`.
        number: Suggestion number, from 0.
        params: The searched values only, by flat key (`loss.alpha`).
        config: The resolved trial config as plain values.
        baseline: True for an enqueued point, which is never stopped early.
        created_ms: Milliseconds since 1970.
        confirms: Of a confirmation, the trial whose configuration it trains again; empty for a trial of the search.
    """

    trial_id: str
    number: int
    params: dict[str, Any]
    config: dict[str, Any]
    baseline: bool
    created_ms: int
    confirms: str = ""

    @property
    def role(self) -> str:
        """What the run is for."""
        return ROLE_CONFIRM if self.confirms else ROLE_TRIAL


@dataclass(frozen=True)
class ValRecord:
    """What a confirmation scored on val.

    Attributes:
        epoch: Best on dev; its weights were measured.
        time_ms: When, milliseconds since 1970.
        metrics: Finite values by name, as those of dev are named.
        start: Number of the start that measured it, from 1, which names its files; 0 in records of format 1.
    """

    epoch: int
    time_ms: int
    metrics: dict[str, float]
    start: int = 0


@dataclass(frozen=True)
class FailureRecord:
    """Why a start of a trial came to an end that it should not have.

    Attributes:
        number: 1 for the trial's first.
        start: Number of the start; 0 where the process did not live to record one.
        reason: One line.
        counted: Whether it counts as an attempt; False where the machine was lost.
        time_ms: Milliseconds since 1970.
    """

    number: int
    start: int
    reason: str
    counted: bool
    time_ms: int


@dataclass(frozen=True)
class TrialSnapshot:
    """A trial as its record stood when it was read."""

    spec: TrialSpec
    epochs: tuple[EpochRecord, ...] = ()
    end: EndMarker | None = None
    attempts: int = field(default=0)
    val: ValRecord | None = None

    @property
    def objective(self) -> float | None:
        """Best objective so far, or None before the first durable epoch."""
        return self.epochs[-1].objective if self.epochs else None

    @property
    def best(self) -> EpochRecord | None:
        """The epoch record that the objective comes from."""
        return self.epochs[self.epochs[-1].best_epoch - 1] if self.epochs else None

    @property
    def state(self) -> str:
        """The end's reason, or `unfinished`."""
        return self.end.reason if self.end else "unfinished"


def now_ms() -> int:
    """The present in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
