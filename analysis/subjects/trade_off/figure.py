"""The trade-off of finding things: recall against precision, misses against false alarms, a point for each trial."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cbook import STEP_LOOKUP_MAP
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from analysis.subjects.canvas import new_figure
from analysis.subjects.palette import loss_colors
from trainable.config.loss_registry import LOSS_NAMES

_SMALL: Final = 7.5
_MARKS: Final = "osD^vPX*"
_GREY: Final = "#555555"
_F1: Final = (0.2, 0.4, 0.6, 0.8)
_CLOSE: Final = 8
"""Points from the middle of a mark; a label that stands farther off is tied to its mark by a line."""
_OFFSETS: Final = [
    (radius * x, radius * y)
    for radius in (_CLOSE, 12, 18)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.8, 0.8), (-0.8, 0.8), (0.8, -0.8), (-0.8, -0.8))
]
"""Where a label may stand from its point, in points; the first that is free is taken."""


def loss_markers(losses: Sequence[str]) -> dict[str, str]:
    """A marker for each loss, beside its colour; the same in every figure."""
    order = [*LOSS_NAMES, *sorted(set(losses) - set(LOSS_NAMES))]
    return {loss: _MARKS[place % len(_MARKS)] for place, loss in enumerate(order) if loss in losses}


def draw_trade_off(frame: pd.DataFrame, names: Mapping[str, str], best: str) -> Figure:
    """Draw the pixels' trade-off, and beside it that of the objects where there are any.

    Args:
        frame: As of `analysis.subjects.trade_off.table.tabulate_trade_off`, with a recall in one row at least.
        names: What each loss is called, by its name.
        best: Id of the trial to mark as the best by the objective.
    """
    objects = frame.dropna(subset=["thing_miss_rate", "thing_false_alarms_per_image"])
    figure = new_figure(height=4.3)
    panels = figure.subplots(1, 2 if len(objects) else 1, squeeze=False)[0]
    _draw_pixels(panels[0], frame.dropna(subset=["thing_recall", "thing_precision"]), best)
    if len(objects):
        _draw_objects(panels[1], objects, best)
    _explain(figure, frame, names)
    figure.draw_without_rendering()  # places the axes, which the labels go by
    for axes, (x, y), front in zip(panels, _AXES, ("pixel_front", "object_front"), strict=False):
        _label(axes, frame[frame[front]], x, y, frame[frame[x].notna() & frame[y].notna()], best)
    return figure


_AXES: Final = (("thing_recall", "thing_precision"), ("thing_false_alarms_per_image", "thing_miss_rate"))


def _draw_pixels(axes: Axes, frame: pd.DataFrame, best: str) -> None:
    _draw_f1(axes)
    _draw_points(axes, frame, *_AXES[0], best)
    front = frame[frame["pixel_front"]].sort_values(["thing_recall", "thing_precision"], ascending=[True, False])
    axes.step(front["thing_recall"], front["thing_precision"], where="pre", color=_GREY, lw=1, zorder=1)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), title="Pixels")
    axes.set_xlabel("thing recall (higher is better)")
    axes.set_ylabel("thing precision (higher is better)")


def _draw_f1(axes: Axes) -> None:
    """Faint lines of equal harmonic mean."""
    for f1 in _F1:
        recall = np.linspace(f1 / (2 - f1), 1, 200)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#dddddd", lw=0.8, zorder=0)
        axes.annotate(f"F1 {f1:.1f}".replace("0.", "."), (1.0, f1 / (2 - f1)), (-2, 1), textcoords="offset points",
                      fontsize=6.5, color="#999999", ha="right", va="bottom", annotation_clip=False)  # fmt: skip


def _draw_objects(axes: Axes, frame: pd.DataFrame, best: str) -> None:
    _draw_points(axes, frame, *_AXES[1], best)
    front = frame[frame["object_front"]].sort_values(list(_AXES[1]), ascending=[True, False])
    axes.step(front[_AXES[1][0]], front[_AXES[1][1]], where="post", color=_GREY, lw=1, zorder=1)
    widen(axes, frame[_AXES[1][0]].to_numpy())
    axes.set(ylim=(-0.03, 1.03), title="Objects")
    axes.set_xlabel("thing false alarms an image (lower is better)")
    axes.set_ylabel("thing miss rate (lower is better)")


def widen(axes: Axes, values: "np.ndarray[Any, np.dtype[np.float64]]") -> None:
    """Give the x axis room for counts from 0, by orders of magnitude where a few would squeeze the others together."""
    positive = values[values > 0]
    if len(positive) and positive.max() > 20 * np.median(positive):
        axes.set_xscale("symlog", linthresh=float(np.median(positive)))
        axes.set_xlim(-0.1 * float(np.median(positive)), 2.0 * float(positive.max()))
    else:
        axes.set_xlim(*np.array([-0.05, 1.1]) * (float(positive.max()) if len(positive) else 1.0))


def _draw_points(axes: Axes, frame: pd.DataFrame, x: str, y: str, best: str) -> None:
    losses = frame["loss"].unique().tolist()
    colors, markers = loss_colors(losses), loss_markers(losses)
    for row in frame.to_dict("records"):
        color = colors[row["loss"]]
        face = color if row["ending"] == "full" else "none"
        axes.plot(row[x], row[y], markers[row["loss"]], ms=6, color=color, mfc=face, mew=1.2, alpha=0.85, clip_on=False)
    ringed = frame[frame["trial_id"] == best]
    axes.plot(ringed[x], ringed[y], "o", ms=12, mfc="none", mec="black", mew=1.2, clip_on=False)


def _label(axes: Axes, front: pd.DataFrame, x: str, y: str, points: pd.DataFrame, best: str) -> None:
    """Write ids beside the points of the front, where they cover nothing; the rest is in the table."""
    taken = [_around(*place, 9 if trial == best else 5, axes) for place, trial in _places(axes, points, x, y)]
    taken += [text.get_window_extent() for text in axes.texts]
    taken += [_around(*place, 1, axes) for place in _along_lines(axes)]
    for row in front.sort_values(x).to_dict("records"):
        text = axes.annotate(row["trial_id"], (row[x], row[y]), (0, 0), textcoords="offset points", fontsize=_SMALL,
                             ha="center", va="center", annotation_clip=False)  # fmt: skip
        text.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])
        text.set_in_layout(False)
        box = _place(axes, text, taken)
        if box is None:
            text.remove()
            continue
        taken.append(box)
        if max(map(abs, _offset(text))) > _CLOSE:
            _tie(axes, text)


def _offset(text: Annotation) -> tuple[float, float]:
    """From the point to the nearest part of its label, in points."""
    x, y = text.get_position()
    width = text.get_window_extent().width * 72 / text.axes.figure.dpi if text.axes else 0.0
    return x - np.sign(x) * width / 2, y


def _tie(axes: Axes, text: Annotation) -> None:
    line = {"arrowstyle": "-", "color": "#777777", "lw": 0.6, "shrinkA": 1, "shrinkB": 3}
    tie = axes.annotate("", text.xy, _offset(text), textcoords="offset points", arrowprops=line, annotation_clip=False)
    tie.set_in_layout(False)


def _places(axes: Axes, points: pd.DataFrame, x: str, y: str) -> list[tuple[tuple[float, float], str]]:
    """Pixels on the canvas, and trial."""
    pixels = axes.transData.transform(points[[x, y]].to_numpy())
    return [((float(px), float(py)), str(trial)) for (px, py), trial in zip(pixels, points["trial_id"], strict=True)]


def _along_lines(axes: Axes) -> list[tuple[float, float]]:
    """Pixels on the canvas all along the front, whose line is the one with steps."""
    places: list[tuple[float, float]] = []
    for line in axes.lines:
        if line.get_drawstyle() == "default":
            continue
        steps = STEP_LOOKUP_MAP[line.get_drawstyle()](line.get_xdata(), line.get_ydata())
        for one, other in pairwise(axes.transData.transform(np.column_stack(steps))):
            places += [tuple(one + share * (other - one)) for share in np.linspace(0, 1, 40)]
    return places


def _around(x: float, y: float, points: float, axes: Axes) -> Bbox:
    reach = points * axes.figure.dpi / 72
    return Bbox.from_bounds(x - reach, y - reach, 2 * reach, 2 * reach)


def _place(axes: Axes, text: Annotation, taken: Sequence[Bbox]) -> Bbox | None:
    """Move a label to the first place that is free and inside of the axes."""
    inside = axes.get_window_extent()
    scale = axes.figure.dpi / 72
    for x, y in _OFFSETS:
        width = text.get_window_extent().width / scale
        text.set_position((x + np.sign(x) * width / 2, y))
        box = text.get_window_extent().padded(1.5 * scale)
        whole = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        if whole and not any(box.overlaps(other) for other in taken):
            return box
    return None


def _explain(figure: Figure, frame: pd.DataFrame, names: Mapping[str, str]) -> None:
    losses = frame["loss"].unique().tolist()
    colors, markers = loss_colors(losses), loss_markers(losses)
    entries = [
        Line2D([], [], ls="", marker=markers[loss], color=colors[loss], ms=6, label=names[loss]) for loss in colors
    ]
    if (frame["ending"] == "early").any():
        entries.append(Line2D([], [], ls="", marker="o", color=_GREY, mfc="none", ms=6, label="stopped early"))
    entries.append(Line2D([], [], ls="", marker="o", mec="black", mfc="none", ms=10, label="best by the objective"))
    entries.append(Line2D([], [], color=_GREY, lw=1, label="front of full-length trials"))
    figure.legend(handles=entries, loc="outside lower center", ncols=5, fontsize=_SMALL)
