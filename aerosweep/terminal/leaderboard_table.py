"""The leaderboard as a table for a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from aerosweep.terminal.text_table import text_table
from search.project.leaderboard import LeaderboardRow, are_several
from trainable.config.metric_registry import METRICS
from trainable.record.metric_names import MIOU


def leaderboard_table(rows: Sequence[LeaderboardRow], limit: int) -> Table:
    """The first rows for a terminal; a column that would say the same in every row is left out.

    Args:
        rows: Of `leaderboard`.
        limit: How many to show.
    """
    # Narrow on purpose: with the longest names and losses it is to be read on 80 columns.
    table = text_table("Leaderboard: dev scores, one seed each", _caption(rows, limit))
    columns = (*_FIRST_COLUMNS, *(_objective_columns(rows) if are_several(rows) else _METRIC_COLUMNS), *_LAST_COLUMNS)
    shown = [column for column in columns if column.is_wanted(rows)]
    for column in shown:
        justify: JustifyMethod = "right" if column.number else "left"
        table.add_column(
            Text(column.title),
            justify=justify,
            no_wrap=column.no_wrap,
            min_width=column.min_width,
            max_width=column.max_width,
            overflow="fold",
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
    if any(row.pareto for row in rows):
        parts.append("◆ on the front of the best trade-offs")
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
    max_width: int | None = None
    is_wanted: Callable[[Sequence[LeaderboardRow]], bool] = lambda rows: True


def _decimal(value: float | None, places: int = 3) -> str:
    return "" if value is None else f"{value:.{places}f}"


def _trial(row: LeaderboardRow) -> str:
    return row.trial + ("*" if row.baseline else "") + ("◆" if row.pareto else "")


_LOSS_WIDTH: Final = 13
"""A name and one parameter: a loss is folded between parameters, not within one."""

_FIRST_COLUMNS: Final = (
    _Column("#", lambda row: "" if row.rank is None else str(row.rank), number=True),
    _Column("trial", _trial),
    _Column("model", lambda row: row.architecture, no_wrap=False),
    _Column(
        "encoder", lambda row: row.encoder, no_wrap=False, is_wanted=lambda rows: len({row.encoder for row in rows}) > 1
    ),
    _Column("loss", lambda row: row.loss, no_wrap=False, min_width=_LOSS_WIDTH),
    _Column("ep.", lambda row: str(row.epochs), number=True),
)
_METRIC_COLUMNS: Final = (
    _Column(
        "objective",
        lambda row: _decimal(row.objective),
        number=True,
        is_wanted=lambda rows: any(row.rank is not None and row.objective != row.miou for row in rows),
    ),
    _Column("mIoU", lambda row: _decimal(row.miou), number=True),
    _Column("things", lambda row: _decimal(row.thing_miou), number=True),
    _Column("worst", lambda row: _decimal(row.worst_class_iou), number=True),
)
_LAST_COLUMNS: Final = (
    _Column(
        "min",
        lambda row: _decimal(row.minutes, 0 if (row.minutes or 0) >= 100 else 1),
        number=True,
        is_wanted=lambda rows: not are_several(rows),  # there is no room beside several objectives
    ),
    _Column("state", lambda row: "done" if row.state == "completed" else row.state, no_wrap=False),
)
_WITH_MIOU: Final = 2


def _objective_columns(rows: Sequence[LeaderboardRow]) -> list[_Column]:
    """The objectives, and mIoU where there is room for it."""
    names = list(rows[0].objectives)
    columns = [_objective_column(name) for name in names]
    return columns if MIOU in names or len(names) > _WITH_MIOU else [*columns, _METRIC_COLUMNS[1]]


def _objective_column(name: str) -> _Column:
    kind, _, class_name = name.partition("/")
    entry = METRICS[kind]
    title = f"{class_name.replace('_', ' ')} {entry.column}" if class_name else entry.column
    places = 3 if entry.is_share else 2
    return _Column(
        title,
        lambda row: _decimal(row.objectives[name], places),
        number=True,
        no_wrap=False,
        min_width=len("recall"),
        max_width=len("recall"),
    )
