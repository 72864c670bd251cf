"""The trials of a search, ranked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from search.decide.ranking import UNSOUND, is_ranked, measured_values, pareto_front, ranked
from search.project.csv_table import csv_bytes
from trainable.record.metric_names import (
    MIOU,
    THING_FALSE_ALARMS,
    THING_MIOU,
    THING_MISS_RATE,
    WORST_CLASS_IOU,
)
from trainable.record.record_types import EpochRecord, TrialSnapshot
from trainable.record.trial_words import loss_text

_OWN_COLUMNS: Final = {
    MIOU: "miou",
    THING_MIOU: "thing_miou",
    WORST_CLASS_IOU: "worst_class_iou",
    THING_MISS_RATE: "miss_rate",
    THING_FALSE_ALARMS: "false_alarms",
}
"""Metrics that have a column whether they are objectives or not."""


@dataclass(frozen=True)
class LeaderboardRow:
    """A trial on the leaderboard; None where there is no value.

    Attributes:
        rank: From 1; failed and diverged trials and those without an epoch have none.
        trial: Its id.
        state: completed, pruned, diverged, failed or unfinished.
        baseline: Whether it was an enqueued point.
        architecture: Of the model.
        encoder: Of the model.
        loss: With its parameters.
        epochs: How many it was trained.
        objective: The best.
        miou: At the epoch of the best objective, as the next two.
        thing_miou: Mean IoU of the thing classes.
        worst_class_iou: IoU of the worst class.
        miss_rate: Share of the objects that were missed, mean over the thing classes, at the same epoch, as the next.
        false_alarms: Predicted objects where there is none, an image.
        minutes: Trained, without the time between two launches.
        objectives: Each of the search's objectives by name, at the same epoch.
        pareto: Whether no other trial of full length is better in one objective without being worse in another; with
            one objective never.
    """

    rank: int | None
    trial: str
    state: str
    baseline: bool
    architecture: str
    encoder: str
    loss: str
    epochs: int
    objective: float | None
    miou: float | None
    thing_miou: float | None
    worst_class_iou: float | None
    miss_rate: float | None
    false_alarms: float | None
    minutes: float | None
    objectives: Mapping[str, float | None] = field(default_factory=dict)
    pareto: bool = False


def leaderboard(trials: Sequence[TrialSnapshot], objectives: Sequence[str] = ("miou",)) -> list[LeaderboardRow]:
    """Rank trials by the first objective; failed and diverged ones come last.

    Args:
        trials: In any order.
        objectives: Of the search.
    """
    front = pareto_front(trials, objectives) if len(objectives) > 1 else set()
    rows = [_row(trial, rank, objectives, front) for rank, trial in enumerate(ranked(trials), start=1)]
    rest = sorted((trial for trial in trials if not is_ranked(trial)), key=_order_of_unranked)
    return rows + [_row(trial, None, objectives, front) for trial in rest]


def _order_of_unranked(trial: TrialSnapshot) -> tuple[bool, int]:
    """What has only just begun, then what failed or diverged."""
    return trial.state in UNSOUND, trial.spec.number


def _row(trial: TrialSnapshot, rank: int | None, objectives: Sequence[str], front: set[str]) -> LeaderboardRow:
    model = trial.spec.config.get("model", {})
    metrics = trial.best.metrics if trial.best else {}
    # The 0 of a diverged trial is what the sampler is told, not a measurement.
    values = (None,) * len(objectives) if trial.state == "diverged" else measured_values(trial, objectives)
    return LeaderboardRow(
        rank=rank,
        trial=trial.spec.trial_id,
        state=trial.state,
        baseline=trial.spec.baseline,
        architecture=str(model.get("architecture", "")),
        encoder=str(model.get("encoder", "")),
        loss=loss_text(trial.spec.config),
        epochs=len(trial.epochs),
        objective=values[0],
        miou=metrics.get(MIOU),
        thing_miou=metrics.get(THING_MIOU),
        worst_class_iou=metrics.get(WORST_CLASS_IOU),
        miss_rate=metrics.get(THING_MISS_RATE),
        false_alarms=metrics.get(THING_FALSE_ALARMS),
        minutes=minutes_trained(trial),
        objectives=dict(zip(objectives, values, strict=True)),
        pareto=trial.spec.trial_id in front,
    )


def minutes_trained(trial: TrialSnapshot) -> float | None:
    """Minutes that the epochs took, or None where the record does not tell.

    An epoch that continued an interrupted trial counts as long as the others: nobody knows when its start was over.
    """
    steps = [_step_ms(trial, before, epoch) for before, epoch in zip((None, *trial.epochs), trial.epochs, strict=False)]
    known = [step for step in steps if step is not None]
    return len(steps) * fmean(known) / 60_000 if known else None


def _step_ms(trial: TrialSnapshot, before: EpochRecord | None, epoch: EpochRecord) -> int | None:
    if before is None:
        return max(0, epoch.time_ms - trial.spec.created_ms) if epoch.attempt == 1 else None
    return max(0, epoch.time_ms - before.time_ms) if epoch.attempt == before.attempt else None


def write_csv(rows: Sequence[LeaderboardRow]) -> bytes:
    """The leaderboard as CSV, UTF-8; a missing value is an empty cell."""
    further = _further_objectives(rows)
    front = ["pareto"] if are_several(rows) else []
    cells = (
        [*(getattr(row, name) for name in _CSV_COLUMNS), *(row.objectives[name] for name in further)]
        + [row.pareto for _ in front]
        for row in rows
    )
    return csv_bytes([*_CSV_COLUMNS, *further, *front], cells)


_CSV_COLUMNS: Final = (
    *("rank", "trial", "state", "baseline", "architecture", "encoder", "loss", "epochs", "objective"),
    *("miou", "thing_miou", "worst_class_iou", "miss_rate", "false_alarms", "minutes"),
)


def are_several(rows: Sequence[LeaderboardRow]) -> bool:
    """Whether the search has several objectives."""
    return bool(rows) and len(rows[0].objectives) > 1


def _further_objectives(rows: Sequence[LeaderboardRow]) -> list[str]:
    """The objectives after the first that have no column yet."""
    return [name for name in list(rows[0].objectives)[1:] if name not in _OWN_COLUMNS] if rows else []
