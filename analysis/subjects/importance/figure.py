"""Hyperparameter importance: bars with their spread, and what chance alone gives."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.subjects.canvas import new_figure
from analysis.words.number_words import shortened

_OVER: Final = "#0072B2"
_UNDER: Final = "#b8b8b8"
_DARK: Final = "#333333"
_SMALL: Final = 7.5
_LONGEST_NAME: Final = 34


def draw_importance(frame: pd.DataFrame, titles: dict[str, str]) -> Figure:
    """Draw a panel for each group of trials, a bar for each parameter, the most important on top.

    Args:
        frame: As of `analysis.subjects.importance.table.tabulate_importance`, with at least one group.
        titles: What each group's panel is called, by group, from the top.
    """
    sizes = [int((frame["group"] == group).sum()) for group in titles]
    figure = new_figure(height=0.9 + 0.55 * len(sizes) + 0.27 * sum(sizes))
    panels = figure.subplots(len(sizes), 1, sharex=True, squeeze=False, height_ratios=sizes)[:, 0]
    for axes, (group, title) in zip(panels, titles.items(), strict=True):
        _draw_group(axes, frame[frame["group"] == group])
        axes.set_title(title, loc="left", fontsize=9)
    panels[-1].set_xlabel("importance: share of the objective's variance")
    _explain(figure)
    return figure


def _draw_group(axes: Axes, group: pd.DataFrame) -> None:
    rows = np.arange(len(group))
    value, noise = group["importance"].to_numpy(), float(group["noise"].iloc[0])
    axes.barh(rows, value, height=0.62, color=[_OVER if each > noise else _UNDER for each in value])
    axes.hlines(rows, group["low"], group["high"], color=_DARK, lw=1.4, zorder=3)
    axes.axvline(noise, color="#D55E00", lw=1.3, ls="--", zorder=2)
    axes.set_yticks(rows, [shortened(name, _LONGEST_NAME) for name in group["parameter"]], fontsize=8)
    axes.set(xlim=(0, 1), ylim=(len(group) - 0.5, -0.5))
    axes.tick_params(axis="y", length=0)


def _explain(figure: Figure) -> None:
    entries = [
        Patch(color=_OVER, label="above chance"),
        Patch(color=_UNDER, label="no more than chance gives"),
        Line2D([], [], color=_DARK, lw=1.4, label="90 % of bootstrap resamples"),
        Line2D([], [], color="#D55E00", lw=1.3, ls="--", label="most that chance gave"),
    ]
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=_SMALL)
