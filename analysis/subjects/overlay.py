"""Labels drawn over their image, in the manner of the seed study: colours over grey, names where the classes are."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from numpy.typing import NDArray

from trainable.data.components import find_objects
from trainable.data.image_set import IGNORED

_GREY: Final = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luminance (ITU-R BT.601)."""

_SIZE: Final = 6
_CHARACTER, _LINE = 0.62 * _SIZE, 1.3 * _SIZE
"""Points of a name: its size, the width of a character with the outline, the height of a line."""

_COVERED: Final = 2
"""A component of less than so many times the area of its name would be hidden by it."""

_Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the image."""

_IGNORED_COLOR: Final = np.array([255, 255, 255], dtype=np.uint8)


def color_labels(labels_HW: NDArray[np.uint8], colors_C3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A label map in class colours, uint8 (H, W, 3); ignored pixels are white."""
    table = np.tile(_IGNORED_COLOR, (256, 1))
    table[: len(colors_C3)] = colors_C3
    colored: NDArray[np.uint8] = table[labels_HW]
    return colored


def overlay(
    image_HW3: NDArray[np.uint8], labels_HW: NDArray[np.uint8], colors_C3: NDArray[np.uint8], alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Blend class colours with the grey image, uint8 (H, W, 3).

    Args:
        image_HW3: RGB.
        labels_HW: Labels; ignored pixels keep the grey image.
        colors_C3: Colour of each class.
        alpha: Weight of the colours, in 0..1.
    """
    grey_HW1 = (image_HW3 @ _GREY)[..., None]
    blended = (1 - alpha) * grey_HW1 + alpha * color_labels(labels_HW, colors_C3)
    drawn: NDArray[np.uint8] = np.where((labels_HW == IGNORED)[..., None], grey_HW1, blended).round().astype(np.uint8)
    return drawn


def name_classes(axes: Axes, labels_HW: NDArray[np.uint8], names: Sequence[str], smallest: float = 0.0005) -> None:
    """Write each class's name at the middle of its largest component, outlined so that it is read on any colour.

    The names of small components come first, and lie above or below what they would cover. A name that would cover
    another goes a line or two up or down, or is left to the legend. Names at the edge are moved into the image.

    Args:
        axes: Shows the labels in pixel coordinates; it lies in a figure of its final size.
        labels_HW: Labels.
        names: Of the classes, in label order.
        smallest: Share of the image that a component needs for a name.
    """
    scale = _points_per_pixel(axes, labels_HW.shape)
    taken: list[_Box] = []
    for place in _places(labels_HW, len(names), smallest):
        name = names[place.label]
        box = _free_place(place, (0.5 * _CHARACTER * len(name) / scale, 0.5 * _LINE / scale), labels_HW.shape, taken)
        if box is None:
            continue
        taken.append(box)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        text = axes.text(x, y, name, color="white", fontsize=_SIZE, ha="center", va="center")
        text.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])


class _Place(NamedTuple):
    """Where a class's largest component lies: a pixel in its middle, and half its height."""

    size: int
    label: int
    row: float
    column: float
    half_height: float


def _places(labels_HW: NDArray[np.uint8], classes: int, smallest: float) -> list[_Place]:
    """The largest component of each class that has one large enough, small components first."""
    found = find_objects(labels_HW, range(classes))
    places = []
    for label in range(classes):
        mine = np.flatnonzero(found.labels == label)
        if not len(mine):
            continue
        largest = mine[found.sizes[mine].argmax()]
        size = int(found.sizes[largest])
        if size < smallest * labels_HW.size:
            continue
        pixels = found.pixels[found.starts[largest] : found.starts[largest + 1]]
        (top, row, bottom), (_, column, _) = np.unravel_index(pixels[[0, size // 2, -1]], labels_HW.shape)
        places.append(_Place(size, label, float(row), float(column), (float(bottom) - float(top) + 1) / 2))
    return sorted(places)


def _points_per_pixel(axes: Axes, shape: tuple[int, ...]) -> float:
    """Points that a pixel of the image takes in the figure, before a layout makes the axes larger."""
    extent = axes.get_window_extent()
    figure = axes.get_figure(root=True)
    pixels = min(extent.width / shape[1], extent.height / shape[0])
    return max(72 * pixels / (figure.dpi if figure else 100), 1e-9)


def _free_place(place: _Place, half: tuple[float, float], shape: tuple[int, ...], taken: Sequence[_Box]) -> _Box | None:
    """The box of a name inside the image and clear of others, at most two lines from its place; None if none is.

    Args:
        place: Of its component.
        half: Half the width and height of the name.
        shape: Height and width of the image.
        taken: Boxes of other names.
    """
    hidden = place.size < _COVERED * 4 * half[0] * half[1]
    beside = place.half_height + half[1] if hidden else 0.0
    line = 2 * half[1]
    for away in (beside, beside + line, beside + 2 * line):
        for shift in (-away, away):
            x = _inside(place.column, half[0], shape[1])
            y = _inside(place.row + shift, half[1], shape[0])
            box = (x - half[0], y - half[1], x + half[0], y + half[1])
            if not any(_overlap(box, other) for other in taken):
                return box
    return None


def _inside(at: float, extent: float, side: int) -> float:
    """The nearest place that keeps an extent within the image; its middle where it is too wide."""
    return side / 2 if 2 * extent >= side else min(max(at, extent), side - extent)


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
