"""The trials of a search, ranked."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from statistics import fmean
from typing import Final

from rich import box
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from search.trial_line import loss_text
from trainable.trial_record import MIOU, THING_MIOU, WORST_CLASS_IOU, EpochRecord, TrialSnapshot

_UNRANKED: Final = ("failed", "diverged")
_DECIMALS: Final = 6


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
        minutes: Trained, without the time between two launches.
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
    minutes: float | None


def leaderboard(trials: Sequence[TrialSnapshot]) -> list[LeaderboardRow]:
    """Rank trials by their best objective; failed and diverged ones come last.

    Args:
        trials: In any order.
    """
    ordered = sorted(trials, key=_order)
    ranked = sum(_is_ranked(trial) for trial in trials)
    return [_row(trial, place if place <= ranked else None) for place, trial in enumerate(ordered, start=1)]


def _is_ranked(trial: TrialSnapshot) -> bool:
    return trial.objective is not None and trial.state not in _UNRANKED


def _order(trial: TrialSnapshot) -> tuple[bool, bool, float, int]:
    objective = trial.objective if _is_ranked(trial) and trial.objective is not None else 0.0
    return not _is_ranked(trial), trial.state in _UNRANKED, -objective, trial.card.number


def _row(trial: TrialSnapshot, rank: int | None) -> LeaderboardRow:
    model = trial.card.config.get("model", {})
    metrics = trial.best.metrics if trial.best else {}
    return LeaderboardRow(
        rank=rank,
        trial=trial.card.trial_id,
        state=trial.state,
        baseline=trial.card.baseline,
        architecture=str(model.get("architecture", "")),
        encoder=str(model.get("encoder", "")),
        loss=loss_text(trial.card.config),
        epochs=len(trial.epochs),
        # The 0 of a diverged trial is what the sampler is told, not a measurement.
        objective=None if trial.state == "diverged" else trial.objective,
        miou=metrics.get(MIOU),
        thing_miou=metrics.get(THING_MIOU),
        worst_class_iou=metrics.get(WORST_CLASS_IOU),
        minutes=minutes_trained(trial),
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
        return max(0, epoch.time_ms - trial.card.created_ms) if epoch.attempt == 1 else None
    return max(0, epoch.time_ms - before.time_ms) if epoch.attempt == before.attempt else None


def write_csv(rows: Sequence[LeaderboardRow]) -> bytes:
    """The leaderboard as CSV, UTF-8; a missing value is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in fields(LeaderboardRow)])
    writer.writerows([_csv_cell(value) for value in astuple(row)] for row in rows)
    return text.getvalue().encode()


def _csv_cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return round(value, _DECIMALS) if isinstance(value, float) else value


def leaderboard_table(rows: Sequence[LeaderboardRow], limit: int) -> Table:
    """The first rows for a terminal; a column that would say the same in every row is left out.

    Args:
        rows: Of `leaderboard`.
        limit: How many to show.
    """
    # Narrow on purpose: with the longest names and losses it is to be read on 80 columns.
    table = Table(
        title="Leaderboard",
        caption=Text(_caption(rows, limit)),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown = [column for column in _COLUMNS if column.is_wanted(rows)]
    for column in shown:
        justify: JustifyMethod = "right" if column.number else "left"
        table.add_column(
            column.title, justify=justify, no_wrap=column.no_wrap, min_width=column.min_width, overflow="fold"
        )
    for row in rows[:limit]:
        style = "dim" if row.rank is None else "bold" if row.rank == 1 else ""
        table.add_row(*(Text(column.text(row)) for column in shown), style=style)
    return table


def _caption(rows: Sequence[LeaderboardRow], limit: int) -> str:
    parts = []
    encoders = {row.encoder for row in rows}
    if len(encoders) == 1:
        parts.append(f"encoder {encoders.pop()}")
    if any(row.baseline for row in rows):
        parts.append("* baseline, never stopped early")
    if len(rows) > limit:
        parts.append(f"{len(rows) - limit} more in leaderboard.csv")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Column:
    title: str
    text: Callable[[LeaderboardRow], str]
    number: bool = False
    no_wrap: bool = True
    min_width: int | None = None
    is_wanted: Callable[[Sequence[LeaderboardRow]], bool] = lambda rows: True


def _decimal(value: float | None, places: int = 3) -> str:
    return "" if value is None else f"{value:.{places}f}"


_COLUMNS: Final = (
    _Column("#", lambda row: "" if row.rank is None else str(row.rank), number=True),
    _Column("trial", lambda row: row.trial + ("*" if row.baseline else "")),
    _Column("model", lambda row: row.architecture, no_wrap=False),
    _Column(
        "encoder", lambda row: row.encoder, no_wrap=False, is_wanted=lambda rows: len({row.encoder for row in rows}) > 1
    ),
    _Column("loss", lambda row: row.loss, no_wrap=False, min_width=len("tversky a=.70")),
    _Column("ep.", lambda row: str(row.epochs), number=True),
    _Column(
        "objective",
        lambda row: _decimal(row.objective),
        number=True,
        is_wanted=lambda rows: any(row.rank is not None and row.objective != row.miou for row in rows),
    ),
    _Column("mIoU", lambda row: _decimal(row.miou), number=True),
    _Column("things", lambda row: _decimal(row.thing_miou), number=True),
    _Column("worst", lambda row: _decimal(row.worst_class_iou), number=True),
    _Column("min", lambda row: _decimal(row.minutes, 0 if (row.minutes or 0) >= 100 else 1), number=True),
    _Column("state", lambda row: "done" if row.state == "completed" else row.state),
)
