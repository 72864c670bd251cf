"""Labels drawn over their image, in the manner of the seed study: colours over grey, names where the classes are."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from numpy.typing import NDArray

from trainable.image_set import IGNORED
from trainable.objects import find_objects

_GREY: Final = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in luminance (ITU-R BT.601)."""

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

    Args:
        axes: Shows the labels in pixel coordinates.
        labels_HW: Labels.
        names: Of the classes, in label order.
        smallest: Share of the image that a component needs for a name.
    """
    found = find_objects(labels_HW, range(len(names)))
    for label, name in enumerate(names):
        mine = np.flatnonzero(found.labels == label)
        if not len(mine):
            continue
        largest = mine[found.sizes[mine].argmax()]
        if found.sizes[largest] < smallest * labels_HW.size:
            continue
        pixels = found.pixels[found.starts[largest] : found.starts[largest + 1]]
        row, column = np.unravel_index(int(np.median(pixels)), labels_HW.shape)
        text = axes.text(float(column), float(row), name, color="white", fontsize=6, ha="center", va="center")
        text.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])
