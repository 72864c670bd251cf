"""Losses side by side: a dot plot of what the best of n trials scores, and a heat map of the same class by class."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.subjects.canvas import new_figure
from analysis.subjects.palette import loss_colors
from analysis.words.number_words import shortened

_SMALL: Final = 7.5
"""Points, of texts that stand close."""
_LONGEST_NAME: Final = 22
"""Characters of a class name; the numbers have all of it."""


def draw_losses(
    compared: pd.DataFrame, points: pd.DataFrame, labels: Mapping[str, str], titles: Mapping[tuple[str, str], str]
) -> Figure:
    """Draw a row for each loss, a panel for each score: the expected best with its spread, over the single trials.

    Args:
        compared: As of `analysis.subjects.losses_compared.table.compare_losses`.
        points: As of `analysis.subjects.losses_compared.table.tabulate_points`.
        labels: What each loss's row is called, the first at the top.
        titles: What each panel is called, by comparison and metric, from left to right.
    """
    figure = new_figure(height=1.35 + 0.42 * len(labels))
    panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    for axes, ((comparison, metric), title) in zip(panels, titles.items(), strict=True):
        summary, single = (
            rows[(rows["comparison"] == comparison) & (rows["metric"] == metric)] for rows in (compared, points)
        )
        _draw_panel(axes, summary, single, list(labels))
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("on dev", fontsize=8)
    panels[0].set_yticks(range(len(labels)), list(labels.values()), fontsize=_SMALL)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)
    _explain(figure, single=bool((compared["trials"] == 1).any()), spread=bool((compared["trials"] > 1).any()))
    return figure


def _draw_panel(axes: Axes, summary: pd.DataFrame, points: pd.DataFrame, losses: Sequence[str]) -> None:
    colors = loss_colors(losses)
    for place, loss in enumerate(losses):
        values = points.loc[points["loss"] == loss, "value"]
        axes.plot(values, np.full(len(values), place + 0.18), "o", color=colors[loss], alpha=0.4, ms=4, mew=0)
        for row in summary[summary["loss"] == loss].to_dict("records"):
            _draw_expected(axes, row, place - 0.14, colors[loss])
    axes.xaxis.set_major_locator(MaxNLocator(3, min_n_ticks=2))
    axes.tick_params(axis="x", labelsize=_SMALL)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.margins(x=0.12)
    for border in np.arange(len(losses) - 1) + 0.5:
        axes.axhline(border, color="#e8e8e8", lw=0.6, zorder=0)


def _draw_expected(axes: Axes, row: Mapping[Any, Any], height: float, color: str) -> None:
    """A diamond with its spread; open and without one for a single trial, a word where there is no trial."""
    if row["trials"] == 0:
        axes.text(0.5, height + 0.14, "no trial", transform=axes.get_yaxis_transform(), ha="center", va="center",
                  fontsize=_SMALL, color="#666666")  # fmt: skip
        return
    single = row["trials"] == 1
    spread = None if single else row["expected_best_std"]
    face = "white" if single else color
    axes.errorbar(row["expected_best"], height, xerr=spread, fmt="D", color=color, mfc=face, ms=5.5, lw=1.4, capsize=2)


def _explain(figure: Figure, *, single: bool, spread: bool) -> None:
    grey = "#555555"
    entries = [Line2D([], [], ls="", marker="o", color=grey, alpha=0.5, ms=4, mew=0, label="one trial")]
    if spread:
        label = "expected best \N{PLUS-MINUS SIGN} standard deviation"
        entries.append(Line2D([], [], marker="D", color=grey, ms=5.5, lw=1.4, label=label))
    if single:
        label = "n = 1: the only trial, no spread known"
        entries.append(Line2D([], [], ls="", marker="D", color=grey, mfc="white", ms=5.5, label=label))
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries), fontsize=_SMALL)


def draw_loss_classes(frame: pd.DataFrame, labels: Mapping[str, str], titles: Mapping[str, str]) -> Figure:
    """Draw a heat map for each score with a row for each class, things above stuff, and a column for each loss.

    Args:
        frame: As of `analysis.subjects.losses_compared.table.compare_classes`.
        labels: What each loss's column is called, from left to right.
        titles: What each score's panel is called, by metric, from left to right.
    """
    classes = _rows_of(frame)
    figure = new_figure(height=1.5 + 0.235 * len(classes))
    panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
    for axes, (metric, title) in zip(panels, titles.items(), strict=True):
        mine = frame[frame["metric"] == metric]
        values = mine.pivot(index="class", columns="loss", values="expected_best")
        cells = values.reindex(index=[name or heading for name, heading in classes], columns=list(labels)).to_numpy()
        cells = np.where([[name is None] for name, _ in classes], np.nan, cells)
        image = axes.imshow(cells, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        _write_cells(axes, cells)
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(len(labels)), list(labels.values()), rotation=90, fontsize=_SMALL)
        axes.set_xticks(np.arange(len(labels) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(classes) - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", lw=1.2)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
    _name_rows(panels[0], classes)
    bar = figure.colorbar(image, ax=list(panels), fraction=0.025, pad=0.015)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure


def _rows_of(frame: pd.DataFrame) -> list[tuple[str | None, str]]:
    """Rows from the top: the class (None for a heading) and what stands beside it."""
    rows: list[tuple[str | None, str]] = []
    for thing, heading in ((True, "things"), (False, "stuff")):
        names = frame.loc[frame["thing"] == thing, "class"].drop_duplicates().tolist()
        rows += [(None, heading), *((name, shortened(name, _LONGEST_NAME)) for name in names)] if names else []
    return rows


def _name_rows(axes: Axes, classes: Sequence[tuple[str | None, str]]) -> None:
    axes.set_yticks(range(len(classes)), [label for _, label in classes], fontsize=8)
    for (name, _), label in zip(classes, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if name is None else "normal")


def _write_cells(axes: Axes, cells: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    for (row, column), value in np.ndenumerate(cells):
        if not np.isnan(value):
            color = "white" if value < 0.55 else "black"
            # Out of the layout: hundreds of texts that lie within their axes would only slow it down.
            axes.text(column, row, _cell(value), ha="center", va="center", fontsize=6.5, color=color).set_in_layout(
                False
            )


def _cell(value: float) -> str:
    """Two decimals; what is not quite zero does not look like zero."""
    if 0 < value < 0.005:
        return "<.01"
    return "0" if value == 0 else f"{value:.2f}".removeprefix("0")
