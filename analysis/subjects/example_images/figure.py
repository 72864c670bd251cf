"""Images with their labels: raw, label map, and labels over the image."""

from collections.abc import Sequence
from math import ceil
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.subjects.canvas import WIDTH, new_figure
from analysis.subjects.example_images.table import ExampleImage
from analysis.subjects.overlay import color_labels, name_classes, overlay
from analysis.words.share_words import percent
from trainable.data.image_set import IGNORED, LabelClass

COLUMNS: Final = ("Raw", "Label", "Overlay")

_TALLEST: Final = 3.2
"""Inches of an image, so that a tall one does not fill the page."""


def draw_example_images(
    examples: Sequence[ExampleImage], classes: Sequence[LabelClass], colors_C3: NDArray[np.uint8]
) -> Figure:
    """Draw each image in a row: raw, label map, labels over the grey image with the classes' names.

    Args:
        examples: One image at least.
        classes: Of the image set.
        colors_C3: Colour of each class, uint8.
    """
    across = (WIDTH - 0.3) / 3
    ratios = [example.labels.shape[0] / example.labels.shape[1] for example in examples]
    heights = [min(across * ratio, _TALLEST) + 0.3 for ratio in ratios]
    heights[0] += 0.2  # the columns' titles
    columns = _legend_columns(classes)
    figure = new_figure(WIDTH, sum(heights) + 0.2 * (1 + ceil((len(classes) + 1) / columns)))
    rows = np.atleast_1d(np.asarray(figure.subfigures(len(examples), 1, height_ratios=heights)))
    for number, (row, example) in enumerate(zip(rows, examples, strict=True)):
        row.suptitle(_row_title(example), fontsize=8, x=0.01, ha="left")
        _draw_row(row.subplots(1, 3), example, classes, colors_C3, titled=number == 0)
    handles = _legend(examples, classes, colors_C3)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=7.5)
    return figure


def _row_title(example: ExampleImage) -> str:
    choice = example.choice
    classes = "1 class" if choice.classes == 1 else f"{choice.classes} classes"
    return f"{example.id}: {choice.reason} ({classes}, {percent(choice.share)} of its pixels)"


def _draw_row(
    panels: Sequence[Axes],
    example: ExampleImage,
    classes: Sequence[LabelClass],
    colors_C3: NDArray[np.uint8],
    titled: bool,
) -> None:
    labels_HW = example.labels
    drawn = (example.pixels, color_labels(labels_HW, colors_C3), overlay(example.pixels, labels_HW, colors_C3))
    for axes, pixels, title in zip(panels, drawn, COLUMNS, strict=True):
        axes.imshow(pixels)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if titled:
            axes.set_title(title, fontsize=9)
    name_classes(panels[2], labels_HW, [entry.name for entry in classes])


def _legend(
    examples: Sequence[ExampleImage], classes: Sequence[LabelClass], colors_C3: NDArray[np.uint8]
) -> list[Patch]:
    """All classes, those that the examples do not show as well; things are marked."""
    handles = [
        Patch(facecolor=color / 255, edgecolor="#8A8A8A", linewidth=0.5, label=_legend_name(entry))
        for entry, color in zip(classes, colors_C3, strict=True)
    ]
    if any((example.labels == IGNORED).any() for example in examples):
        handles.append(Patch(facecolor="white", edgecolor="#8A8A8A", linewidth=0.5, label="ignored"))
    return handles


def _legend_name(entry: LabelClass) -> str:
    return f"{entry.name} (thing)" if entry.thing else entry.name


def _legend_columns(classes: Sequence[LabelClass]) -> int:
    longest = max(len(_legend_name(entry)) for entry in classes)
    return max(1, min(len(classes), int(105 / (longest + 6))))
