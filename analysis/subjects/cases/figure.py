"""Images beside their true and predicted labels, a row a case; what matters is boxed, and enlarged below it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from PIL import Image

from analysis.subjects.canvas import WIDTH, new_figure
from analysis.subjects.cases.table import Box
from analysis.subjects.overlay import name_classes, overlay
from analysis.subjects.palette import Palette
from analysis.words.number_words import shortened
from trainable.data.image_set import IGNORED, LabelClass

_SHOWN_SIDE: Final = 720
"""Pixels of a drawn panel's longer side at most: more than a page shows."""

_ALPHA: Final = 0.65
"""Weight of the colours: more than in other overlays, since the image itself is beside it."""

_STRIP: Final = 256
"""Rows that are coloured at once, so that a large image does not take many times its size."""

_TITLE: Final = 0.24
_HEADING: Final = 0.28
_LEGEND_LINE: Final = 0.19
"""Inches."""

_TALLEST: Final = 1.3
"""Height of a panel by its width at most; a taller image is drawn narrower."""

_LONGEST_NAME: Final = 24
_LONGEST_HEADING: Final = 88


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture of a case.

    Attributes:
        title: What it is.
        labels: Drawn over the grey image, uint8 (H, W); None for the image itself.
        named: Whether the names of stuff classes are written on it; a thing's name would hide it.
        enlarged_title: Above its enlarged part.
    """

    title: str
    labels: NDArray[np.uint8] | None
    named: bool = False
    enlarged_title: str = ""


@dataclass(frozen=True, eq=False)
class Case:
    """A row of the figure.

    Attributes:
        heading: What it is, in a line.
        image: RGB, uint8 (H, W, 3).
        panels: From left to right.
        boxes: Around the objects in question.
        enlarged: The part of the image that a second row enlarges, if any.
    """

    heading: str
    image: NDArray[np.uint8]
    panels: tuple[Panel, ...]
    boxes: tuple[Box, ...] = ()
    enlarged: Box | None = None


def draw_cases(cases: Sequence[Case], classes: Sequence[LabelClass], palette: Palette) -> Figure:
    """Draw the cases below each other, and a legend of the classes that occur in them.

    Args:
        cases: At least one.
        classes: In label order.
        palette: Of the classes.
    """
    shown = shown_classes(cases, len(classes))
    columns = _legend_columns([classes[label].name for label in shown])
    heights = [_height(case) for case in cases]
    legend = 0.1 + _LEGEND_LINE * -(-len(shown) // columns)
    figure = new_figure(WIDTH, sum(heights) + legend)
    parts = figure.subfigures(len(cases) + 1, 1, height_ratios=[*heights, legend], squeeze=False)[:, 0]
    for part, case in zip(parts, cases, strict=False):
        _draw_case(part, case, classes, palette)
    colors = palette.floats(classes)
    handles = [Patch(color=colors[label], label=shortened(classes[label].name, _LONGEST_NAME)) for label in shown]
    parts[-1].legend(handles=handles, ncols=columns, loc="center", fontsize=8, handlelength=1.2, borderaxespad=0)
    return figure


def shown_classes(cases: Sequence[Case], num_classes: int) -> list[int]:
    """The labels that occur in a panel, ascending."""
    maps = [panel.labels for case in cases for panel in case.panels if panel.labels is not None]
    occurring = np.zeros(256, dtype=bool)
    for labels_HW in maps:
        occurring |= np.bincount(labels_HW.ravel(), minlength=256) > 0
    return np.flatnonzero(occurring[:num_classes]).tolist()


def _legend_columns(names: Sequence[str]) -> int:
    """As many as fit: a letter is about a fifteenth of an inch."""
    longest = max((min(len(name), _LONGEST_NAME) for name in names), default=1)
    return max(1, min(len(names), int(WIDTH / (0.065 * longest + 0.45))))


def _rows(case: Case) -> int:
    return 1 if case.enlarged is None else 2


def _height(case: Case) -> float:
    """Inches that a case needs; a portrait is not drawn higher than wide panels allow."""
    height, width = case.image.shape[:2]
    panel: float = (WIDTH / len(case.panels) - 0.1) * min(height / width, _TALLEST)
    return _HEADING + _rows(case) * (panel + _TITLE)


def _draw_case(part: SubFigure, case: Case, classes: Sequence[LabelClass], palette: Palette) -> None:
    part.suptitle(shortened(case.heading, _LONGEST_HEADING), x=0.008, ha="left", fontsize=9, fontweight="bold")
    axes = part.subplots(_rows(case), len(case.panels), squeeze=False)
    height, width = case.image.shape[:2]
    for column, panel in enumerate(case.panels):
        axes[0, column].set_title(panel.title, fontsize=8, pad=3)
        whole = Box(0, 0, height, width)
        _draw_panel(axes[0, column], case, panel, whole, palette.of_classes(classes))
        if panel.named and panel.labels is not None:
            _name_stuff(axes[0, column], panel.labels, classes)
        if case.enlarged is not None:
            axes[1, column].set_title(panel.enlarged_title, fontsize=7.5, pad=3)
            _draw_panel(axes[1, column], case, panel, case.enlarged, palette.of_classes(classes))


def _name_stuff(axes: Axes, labels_HW: NDArray[np.uint8], classes: Sequence[LabelClass]) -> None:
    things = [label for label, entry in enumerate(classes) if entry.thing]
    stuff_HW = np.where(np.isin(labels_HW, things), np.uint8(IGNORED), labels_HW)
    name_classes(axes, stuff_HW, [shortened(entry.name, _LONGEST_NAME) for entry in classes])


def _draw_panel(axes: Axes, case: Case, panel: Panel, part: Box, colors_C3: NDArray[np.uint8]) -> None:
    """Draw a part of an image in the image's own pixel coordinates."""
    rows, columns = slice(part.top, part.bottom), slice(part.left, part.right)
    labels_HW = None if panel.labels is None else panel.labels[rows, columns]
    drawn = color_panel(case.image[rows, columns], labels_HW, colors_C3)
    extent = (part.left - 0.5, part.right - 0.5, part.bottom - 0.5, part.top - 0.5)
    axes.imshow(drawn, extent=extent, interpolation="nearest")
    axes.set_axis_off()
    _draw_boxes(axes, case, part)


def color_panel(
    image_HW3: NDArray[np.uint8], labels_HW: NDArray[np.uint8] | None, colors_C3: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """An image, or the labels over it, made so small that a page shows it; a small object is blended, never dropped.

    Args:
        image_HW3: RGB.
        labels_HW: Drawn over the grey image; None for the image itself.
        colors_C3: Of the classes.
    """
    step = max(1, -(-max(image_HW3.shape[:2]) // _SHOWN_SIDE))
    strips = []
    for top in range(0, image_HW3.shape[0], step * _STRIP):
        strip = image_HW3[top : top + step * _STRIP]
        if labels_HW is not None:
            strip = overlay(strip, labels_HW[top : top + step * _STRIP], colors_C3, _ALPHA)
        strips.append(np.asarray(Image.fromarray(np.ascontiguousarray(strip)).reduce(step)))
    drawn: NDArray[np.uint8] = np.concatenate(strips)
    return drawn


def _draw_boxes(axes: Axes, case: Case, part: Box) -> None:
    whole = part == Box(0, 0, *case.image.shape[:2])
    side = max(part.bottom - part.top, part.right - part.left)
    for box in case.boxes:
        margin = max(1.0, 0.02 * side)
        if whole or _touches(box, part):
            _outline(axes, box, margin, "solid")
    if whole and case.enlarged is not None:
        _outline(axes, case.enlarged, 0.0, (0, (3, 2)))
    axes.set_xlim(part.left - 0.5, part.right - 0.5)
    axes.set_ylim(part.bottom - 0.5, part.top - 0.5)


def _touches(box: Box, part: Box) -> bool:
    rows = box.top < part.bottom and box.bottom > part.top
    return rows and box.left < part.right and box.right > part.left


def _outline(axes: Axes, box: Box, margin: float, style: str | tuple[int, tuple[int, int]]) -> None:
    """White within black: seen on any colour."""
    corner = (box.left - 0.5 - margin, box.top - 0.5 - margin)
    size = (box.right - box.left + 2 * margin, box.bottom - box.top + 2 * margin)
    frame = Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=1.0, linestyle=style)
    frame.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="black")])
    axes.add_patch(frame)
