"""Misclassified pixels as a Sankey diagram: true classes at the left, predicted ones at the right."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib_sankey import sankey

from analysis.subjects.canvas import new_figure
from analysis.subjects.confusion.figure import LONGEST_NAME
from analysis.subjects.palette import Color
from analysis.words.number_words import shortened
from analysis.words.share_words import percent

_OTHERS_COLOR: Final = "#b5b5b5"
_EDGE: Final = "#555555"
_LIGHTEST: Final = 0.75
"""Of the darkest channel of a band's colour."""
_SIZE: Final = 7.5
"""Points of a label."""
_LINE: Final = 1.3 * _SIZE / 72
"""Inches that a label takes."""
_NODE_WIDTH: Final = 0.06
_GAP: Final = 0.012
_AROUND: Final = 0.55
"""Inches of a panel that its title and margins take."""

SIDES: Final = ("drawn_true", "drawn_predicted")


def draw_misclassified(panels: Mapping[str, pd.DataFrame], colors: Mapping[str, Color]) -> Figure:
    """Draw a Sankey diagram for each panel, one below the other, ribbons in the colour of the true class.

    Args:
        panels: By title: flows with the columns drawn_true, drawn_predicted, pixels, at least one each.
        colors: Of each class by name, in the order in which they stand from the top; what is none of them comes last,
            in grey.
    """
    heights = [_panel_height(flows) for flows in panels.values()]
    figure = new_figure(height=sum(heights))
    every = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, flows), height in zip(every, panels.items(), heights, strict=True):
        _draw_panel(axes, flows, colors, _LINE / (height - _AROUND))
        axes.set_title(title, fontsize=9)
    return figure


def _panel_height(flows: pd.DataFrame) -> float:
    """Inches that hold every label of the fuller side without an overlap."""
    labels = max(flows[side].nunique() for side in SIDES)
    return max(2.7, _AROUND + labels * _LINE * 1.15)


def _draw_panel(axes: Axes, flows: pd.DataFrame, colors: Mapping[str, Color], label_height: float) -> None:
    order = _order(flows, list(colors))
    rank = {name: place for place, name in enumerate(order)}
    flows = flows.sort_values(list(SIDES), key=lambda names: names.map(rank))
    sides = [flows.groupby(side)["pixels"].sum().sort_index(key=lambda names: names.map(rank)) for side in SIDES]
    painted = {name: to_hex(colors[name]) if name in colors else _OTHERS_COLOR for name in order}
    pairs = zip(*(flows[side].tolist() for side in SIDES), flows["pixels"].tolist(), strict=True)
    # `show` stays on: off, the library closes the current figure of whoever called us; on, it shows nothing.
    sankey(
        [list(pairs)],
        ax=axes,
        spacing=_GAP,
        rel_column_width=_NODE_WIDTH,
        color=[[painted[str(name)] for name in side.index] for side in sides],
        column_item_totals=[{str(name): int(pixels) for name, pixels in side.items()} for side in sides],
    )
    _color_ribbons(axes, [painted[name] for name in flows[SIDES[0]]])
    nodes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    _label_nodes(axes, nodes[: len(sides[0])], sides[0], label_height, -1)
    _label_nodes(axes, nodes[len(sides[0]) :], sides[1], label_height, 1)


def _order(flows: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """All that is drawn, from the bottom, where the library begins, to the top."""
    drawn = set(flows[SIDES[0]]) | set(flows[SIDES[1]])
    return [*sorted(drawn - set(names)), *(name for name in reversed(names) if name in drawn)]


def _color_ribbons(axes: Axes, colors: Sequence[str]) -> None:
    """The library knows one colour for all ribbons; it draws them in the order of the flows."""
    ribbons = [patch for patch in axes.patches if isinstance(patch, PathPatch)]
    for ribbon, color in zip(ribbons, colors, strict=True):
        ribbon.set(facecolor=_darkened(color), alpha=0.5, linewidth=0.25, edgecolor=_EDGE)
    for node in axes.patches:
        if isinstance(node, Rectangle):
            node.set(edgecolor=_EDGE, linewidth=0.4)  # a white class must be seen, too


def _darkened(color: str) -> Color:
    """A colour that is seen on white when half of it shines through; all but the lightest stay as they are."""
    red, green, blue = to_rgb(color)
    factor = min(1.0, _LIGHTEST / max(min(red, green, blue), _LIGHTEST))
    return red * factor, green * factor, blue * factor


def _label_nodes(
    axes: Axes, nodes: Sequence[Rectangle], pixels: "pd.Series[int]", label_height: float, sign: int
) -> None:
    """Name and share beside each node, moved apart where nodes are thin, with a line to the node.

    Args:
        axes: Shows the nodes.
        nodes: Of one side, from the bottom.
        pixels: Of each node, by name.
        label_height: Of a label, as a share of the axes' height.
        sign: -1 for the left side, 1 for the right one.
    """
    centers = [node.get_y() + node.get_height() / 2 for node in nodes]
    edge = (sign > 0) + sign * _NODE_WIDTH / 2
    total = int(pixels.sum())
    for (name, count), center, place in zip(pixels.items(), centers, spread(centers, label_height), strict=True):
        axes.plot([edge, edge + sign * 0.03], [center, place], color="#999999", lw=0.5, clip_on=False)
        text = f"{shortened(str(name), LONGEST_NAME)}  {percent(count / total)}"
        axes.text(edge + sign * 0.04, place, text, fontsize=_SIZE, ha="right" if sign < 0 else "left", va="center")


def spread(centers: Sequence[float], least: float) -> list[float]:
    """Places for labels as near to their nodes as they can be, at least so far apart and within 0..1.

    Args:
        centers: Ascending, in 0..1.
        least: Distance of neighbours; where they do not fit, they are set at equal distances.
    """
    count = len(centers)
    least = min(least, 1 / max(count, 1))
    blocks: list[tuple[float, int]] = []
    # With the distances taken out, the places must ascend: isotonic regression by pooling neighbours.
    for place in np.asarray(centers, dtype=np.float64) - least * np.arange(count):
        blocks.append((float(place), 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, n), (other, m) = blocks[-2:]
            blocks[-2:] = [((one * n + other * m) / (n + m), n + m)]
    pooled = np.repeat([mean for mean, _ in blocks], [n for _, n in blocks]) if blocks else np.zeros(0)
    inside = np.clip(pooled, least / 2, 1 - least / 2 - least * max(count - 1, 0))
    return [float(place) for place in inside + least * np.arange(count)]
