"""Scores by scene, and what each scene adds to a difference: dots along rows that are scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.subjects.canvas import WIDTH, new_figure
from analysis.words.gain_words import metric_title
from analysis.words.number_words import shortened, signed

MOST_ROWS: Final = 30
"""Scenes up to here have a row each; of more, the worst and the best do, and all are points of a strip below."""

_EACH_END: Final = 12
_LONGEST_NAME: Final = 22
_ROW: Final = 0.19
_GREY: Final = "#8a8a8a"
_MARKERS: Final = {"candidate": "o", "reference": "D"}


@dataclass(frozen=True)
class RowChoice:
    """Which scenes have a row.

    Attributes:
        scenes: From the top; None is a gap of scenes without a row.
        hidden: How many have none.
    """

    scenes: list[str | None]
    hidden: int

    @property
    def positions(self) -> dict[str, int]:
        """The row of each scene, from 0 at the top."""
        return {scene: row for row, scene in enumerate(self.scenes) if scene is not None}


def choose_rows(scenes: Sequence[str]) -> RowChoice:
    """All scenes, or the first and the last of them with a gap between.

    Args:
        scenes: In the order of the rows.
    """
    if len(scenes) <= MOST_ROWS:
        return RowChoice(list(scenes), 0)
    return RowChoice([*scenes[:_EACH_END], None, *scenes[-_EACH_END:]], len(scenes) - 2 * _EACH_END)


def draw_scores(
    scores: pd.DataFrame, order: Sequence[str], labels: Mapping[str, str], colors: Mapping[str, str]
) -> Figure:
    """Draw each scene's scores, a panel a metric: means as large points, single networks as small ones.

    Args:
        scores: As of `analysis.subjects.scenes.table.tabulate_scores`.
        order: The scenes from the top.
        labels: What each role is called in the legend.
        colors: Of each role.
    """
    rows = choose_rows(order)
    metrics = list(dict.fromkeys(scores["metric"]))
    figure, panels, strips = _layout(len(metrics), rows)
    for column, metric in enumerate(metrics):
        mine = scores[scores["metric"] == metric]
        _score_panel(panels[column], mine, rows, colors)
        panels[column].set_title(metric_title(metric), loc="left")
        lowest = strips[column] if rows.hidden else panels[column]
        lowest.set_xlabel(f"{metric_title(metric)} of the scene (higher is better)")
        if rows.hidden:
            _score_strip(strips[column], mine, labels, colors, named=column == 0)
    _name_rows(panels[0], rows)
    handles = [
        panels[0].plot([], [], _MARKERS[role], color=colors[role], fillstyle=_fill(role), label=fill(label, 100))[0]
        for role, label in labels.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=1, fontsize=8)
    return figure


def draw_gains(gains: pd.DataFrame, color: str) -> Figure:
    """Draw each scene's own gain, and beside it the overall difference without that scene, the highest at the top.

    Args:
        gains: As of `analysis.subjects.scenes.table.tabulate_gains`.
        color: Of the points.
    """
    ordered = gains.sort_values(["without", "scene"], ascending=[False, True], na_position="first", kind="stable")
    rows = choose_rows(ordered["scene"].tolist())
    overall, title = float(gains["overall"].iloc[0]), metric_title(str(gains["metric"].iloc[0]))
    figure, panels, strips = _layout(2, rows)
    places = ordered[ordered["scene"].isin(rows.positions)]
    heights = places["scene"].map(rows.positions)
    panels[0].hlines(heights, 0, places["gain"].fillna(0), color=color, linewidth=1.6)
    panels[0].plot(places["gain"], heights, "o", color=color, markersize=4.5)
    panels[1].plot(places["without"], heights, "o", color=color, markersize=4.5)
    texts = (
        f"Difference in {title}\nin the scene alone",
        f"Overall difference without the scene\n(dashed: with all, {signed(overall)})",
    )
    for axes, strip, column, text in zip(panels, strips, ("gain", "without"), texts, strict=True):
        axes.set_title(text, loc="left", fontsize=8.5)
        lowest = strip if rows.hidden else axes
        lowest.set_xlabel(f"candidate less reference, {title}")
        if rows.hidden:
            _strip(strip, ordered[column].dropna(), 0.0, color, "o")
            strip.set_ylim(-0.6, 0.6)
    for axes in [panels[1], *([strips[1]] if rows.hidden else [])]:
        axes.axvline(overall, color=color, linewidth=1, linestyle="--")
    for axes in [*panels, *(strips if rows.hidden else [])]:
        axes.axvline(0, color="black", linewidth=0.8)
        _widen(axes)
    _name_rows(panels[0], rows)
    if rows.hidden:
        strips[0].set_yticks([0], [f"all {len(gains)}"])
    return figure


def _layout(columns: int, rows: RowChoice) -> tuple[Figure, list[Axes], list[Axes]]:
    """A column of rows for each metric, over a strip where some scenes have no row (else no strips are made)."""
    height = 1.3 + _ROW * max(len(rows.scenes), 4) + (0.9 if rows.hidden else 0)
    figure = new_figure(WIDTH, height)
    if not rows.hidden:
        panels = figure.subplots(1, columns, squeeze=False, sharey=True)[0].tolist()
        return figure, panels, panels
    grid = figure.subplots(
        2, columns, squeeze=False, sharey="row", sharex="col", height_ratios=[_ROW * len(rows.scenes), 0.6]
    )
    return figure, grid[0].tolist(), grid[1].tolist()


def _score_panel(axes: Axes, scores: pd.DataFrame, rows: RowChoice, colors: Mapping[str, str]) -> None:
    shown = scores[scores["scene"].isin(rows.positions)]
    means = shown.groupby(["role", "scene"])["score"].mean()
    ends = means.groupby("scene").agg(["min", "max"])
    axes.hlines(
        [rows.positions[scene] for scene in ends.index], ends["min"], ends["max"], color="#c8c8c8", linewidth=1.2
    )
    for role in dict.fromkeys(shown["role"]):
        single = shown[shown["role"] == role]
        mean = means[role]
        heights = single["scene"].map(rows.positions) + (-0.18 if role == "candidate" else 0.18)
        if single["run_id"].nunique() > 1:
            axes.plot(single["score"], heights, ".", color=colors[role], markersize=2.5, alpha=0.7)
        mean_heights = [rows.positions[scene] for scene in mean.index]
        axes.plot(
            mean, mean_heights, _MARKERS[role], color=colors[role], fillstyle=_fill(role), markersize=4.5, label=role
        )
    _scale(axes, scores["score"])


def _score_strip(
    axes: Axes, scores: pd.DataFrame, labels: Mapping[str, str], colors: Mapping[str, str], *, named: bool
) -> None:
    """All scenes' means, a line of points for each side."""
    for height, role in enumerate(labels):
        means = scores[scores["role"] == role].groupby("scene")["score"].mean()
        _strip(axes, means, float(height), colors[role], _MARKERS[role])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    total = scores["scene"].nunique()
    if named:
        axes.set_yticks(range(len(labels)), [f"{role}, all {total}" for role in labels])


def _strip(axes: Axes, values: "pd.Series[float]", height: float, color: str, marker: str) -> None:
    """Points along a line, and their median as a tick."""
    axes.plot(values, np.full(len(values), height), marker, color=color, markersize=3.5, alpha=0.35, linestyle="none")
    axes.plot([values.median()], [height], "|", color="black", markersize=14, markeredgewidth=1.4)


def _fill(role: str) -> str:
    return "full" if role == "candidate" else "none"


def _scale(axes: Axes, values: "pd.Series[float]") -> None:
    """From 0 where values come near it, so that small differences do not look large; to 1 at the most."""
    highest = min(1.04, max(float(values.max()) * 1.08, 0.1))
    axes.set_xlim(-0.04 * highest, highest)
    axes.grid(axis="x")


def _widen(axes: Axes) -> None:
    """Zero in sight, with room for the points at the ends."""
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, -0.01), max(high, 0.01))
    axes.xaxis.set_major_locator(MaxNLocator(5))  # small differences have long numbers
    axes.grid(axis="x")


def _name_rows(axes: Axes, rows: RowChoice) -> None:
    """Scenes' names, the first at the top; the gap says how many scenes it stands for."""
    names = [
        f"... {rows.hidden} more ..." if scene is None else shortened(scene, _LONGEST_NAME) for scene in rows.scenes
    ]
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_ylabel("scene")
