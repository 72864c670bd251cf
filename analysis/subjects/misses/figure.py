"""Miss rates and false alarms of losses beside each other: by class, and by size."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.subjects.canvas import new_figure
from analysis.subjects.palette import loss_colors
from analysis.subjects.trade_off.figure import loss_markers, widen
from analysis.words.number_words import shortened

_SMALL: Final = 7.5
_TALLEST: Final = 10.0
"""Inches: a page."""
_LONGEST_NAME: Final = 24


def draw_missed(frame: pd.DataFrame, names: Mapping[str, str], note: str) -> Figure:
    """Draw miss rates on the left and false alarms on the right, by class above and by size below.

    Args:
        frame: As of `analysis.subjects.misses.table.tabulate_missed` or `average_over_seeds`, one configuration a loss.
        names: What each loss is called in the legend, by its name, from the top.
        note: What the intervals are.
    """
    groups = [_groups(frame, ("all", "class")), _groups(frame, ("size",))]
    losses, rows = len(names), sum(map(len, groups))
    entries = -(-losses // 3) + 1
    figure = new_figure(height=min(_TALLEST, 1.3 + 0.2 * entries + rows * (0.14 + 0.07 * losses)))
    panels = figure.subplots(2, 2, sharey="row", sharex="col", height_ratios=[len(each) for each in groups])
    for (left, right), mine in zip(panels, groups, strict=True):
        _draw_rates(left, mine, names)
        _draw_alarms(right, mine, names)
        _name_rows(left, mine)
    widen(panels[1][1], frame["false_alarms_high"].to_numpy())
    panels[0][0].set_title("Missed", fontsize=9)
    panels[0][1].set_title("False alarms", fontsize=9)
    panels[0][0].set_ylabel("class (objects)")
    panels[1][0].set_ylabel("size in pixels (objects)")
    panels[1][0].set_xlabel("miss rate: missed of all true objects")
    panels[1][1].set_xlabel("false alarms an image")
    _explain(figure, names, note)
    return figure


def _groups(frame: pd.DataFrame, kinds: Sequence[str]) -> list[pd.DataFrame]:
    """The rows of each group, from the top."""
    mine = frame[frame["by"].isin(kinds)]
    return [rows for _, rows in mine.groupby(["by", "group"], sort=False)]


def _draw_rates(axes: Axes, groups: Sequence[pd.DataFrame], names: Mapping[str, str]) -> None:
    for height, rows in enumerate(groups):
        if rows["objects"].iloc[0] == 0:
            axes.text(0.5, height, "no objects", ha="center", va="center", fontsize=_SMALL, color="#666666")
            continue
        _draw_row(axes, rows, height, ("miss_rate", "low", "high"), names)
    axes.set_xlim(-0.03, 1.03)
    _divide(axes, len(groups))


def _draw_alarms(axes: Axes, groups: Sequence[pd.DataFrame], names: Mapping[str, str]) -> None:
    for height, rows in enumerate(groups):
        columns = ("false_alarms_per_image", "false_alarms_low", "false_alarms_high")
        _draw_row(axes, rows, height, columns, names)
    _divide(axes, len(groups))


def _draw_row(
    axes: Axes, rows: pd.DataFrame, height: int, columns: tuple[str, str, str], names: Mapping[str, str]
) -> None:
    """The losses of a group below each other, each with its interval."""
    colors, markers = loss_colors(list(names)), loss_markers(list(names))
    places = dict(zip(names, height + np.linspace(-0.34, 0.34, len(names)) * (len(names) > 1), strict=True))
    value, low, high = columns
    for row in rows.to_dict("records"):
        loss = row["loss"]
        axes.plot([row[low], row[high]], [places[loss]] * 2, color=colors[loss], lw=1.2, solid_capstyle="butt")
        axes.plot(row[value], places[loss], markers[loss], color=colors[loss], ms=4, mew=0, clip_on=False)


def _divide(axes: Axes, rows: int) -> None:
    axes.hlines(np.arange(rows - 1) + 0.5, 0, 1, transform=axes.get_yaxis_transform(), color="#dddddd", lw=0.6)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _name_rows(axes: Axes, groups: Sequence[pd.DataFrame]) -> None:
    firsts = [rows.iloc[0] for rows in groups]
    labels = [f"{shortened(str(first['group']), _LONGEST_NAME)} ({first['objects']})" for first in firsts]
    axes.set_yticks(range(len(groups)), labels, fontsize=8)


def _explain(figure: Figure, names: Mapping[str, str], note: str) -> None:
    colors, markers = loss_colors(list(names)), loss_markers(list(names))
    entries = [
        Line2D([], [], marker=markers[loss], color=colors[loss], ms=4.5, mew=0, lw=1.2, label=name)
        for loss, name in names.items()
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=min(3, len(entries)), fontsize=_SMALL, title=note,
                  title_fontsize=_SMALL)  # fmt: skip
