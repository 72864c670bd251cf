"""Confusion matrices: one, normalised by true class, and the difference of two."""

from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from analysis.subjects.canvas import new_figure
from analysis.words.number_words import shortened

Floats = NDArray[np.float64]

MANY_CLASSES: Final = 15
"""With more classes than this, values below one percent are not printed."""

LONGEST_NAME: Final = 20
"""Characters of a class beside a figure."""

_LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])
_SMALL: Final = 8


def draw_confusion(frame: pd.DataFrame) -> Figure:
    """Draw a confusion matrix in percent of each true class's pixels.

    Args:
        frame: As of `analysis.subjects.confusion.table.tabulate_confusion`.
    """
    values = _square(frame, "share")
    return _draw(frame, 100 * values, "Blues", Normalize(0, 100), "% of the true class's pixels", signed=False)


def draw_matrix_difference(frame: pd.DataFrame, label: str) -> Figure:
    """Draw the difference of two in percentage points of each true class's pixels.

    Args:
        frame: As of `analysis.subjects.confusion.table.tabulate_matrix_difference`.
        label: Of the colour bar: which is subtracted from which.
    """
    values = 100 * _square(frame, "difference")
    limit = max(1.0, float(np.nanmax(np.abs(values))))
    return _draw(frame, values, "PuOr", Normalize(-limit, limit), label, signed=True)


def _square(frame: pd.DataFrame, column: str) -> Floats:
    side = frame["true"].nunique()
    return frame[column].to_numpy(dtype=np.float64).reshape(side, side)


def _draw(frame: pd.DataFrame, values: Floats, colors: str, norm: Normalize, label: str, *, signed: bool) -> Figure:
    rows = frame.drop_duplicates("true")
    count = len(rows)
    figure = new_figure(height=float(np.clip(2.1 + 0.36 * count, 2.8, 8.2)))
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(values), cmap=colors, norm=norm, aspect="auto", interpolation="nearest")
    _write_values(axes, values, mpl.colormaps[colors], norm, signed=signed)
    _hatch_empty(axes, rows["true_pixels"].tolist())
    _outline_diagonal(axes, count)
    _name_classes(axes, rows)
    bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.55, aspect=45, pad=0.02)
    bar.set_label(label, fontsize=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure


def _write_values(axes: Axes, values: Floats, colors: Colormap, norm: Normalize, *, signed: bool) -> None:
    many = len(values)
    size = 8.5 if many <= 8 else 7 if many <= MANY_CLASSES else 5.8
    for (row, column), value in np.ndenumerate(values):
        text = _cell_text(float(value), many, signed=signed)
        if text:
            luminance = float(np.dot(_LUMINANCE, colors(norm(value))[:3]))
            axes.text(column, row, text, ha="center", va="center", fontsize=size,
                      color="white" if luminance < 0.5 else "black")  # fmt: skip


def _cell_text(value: float, classes: int, *, signed: bool) -> str:
    """A percentage as its cell has it: a decimal where there is room, nothing for zero, `<1` for what rounds to it.

    Args:
        value: Percent, or percentage points; NaN gives nothing.
        classes: Of the matrix.
        signed: Whether it is a difference.
    """
    least = 1.0 if classes > MANY_CLASSES else 0.0
    if np.isnan(value) or value == 0 or abs(value) < least:
        return ""
    decimals = 1 if classes <= 10 else 0
    text = f"{value:+.{decimals}f}" if signed else f"{value:.{decimals}f}"
    if float(text):
        return text.replace("-", "\N{MINUS SIGN}")
    return "" if signed else f"<{'0.1' if decimals else '1'}"


def _hatch_empty(axes: Axes, true_pixels: Sequence[int]) -> None:
    for row, pixels in enumerate(true_pixels):
        if not pixels:
            axes.add_patch(
                Rectangle(
                    (-0.5, row - 0.5), len(true_pixels), 1, hatch="////", facecolor="#f0f0f0", edgecolor="#bbbbbb", lw=0
                )
            )
            axes.text((len(true_pixels) - 1) / 2, row, "no true pixels", ha="center", va="center", fontsize=6.5,
                      bbox={"facecolor": "#f0f0f0", "edgecolor": "none", "pad": 1})  # fmt: skip


def _outline_diagonal(axes: Axes, count: int) -> None:
    for place in range(count):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor="#444444", lw=0.7))


def _name_classes(axes: Axes, rows: pd.DataFrame) -> None:
    """Names on both axes, bold for things, and the true pixels of each row at the right."""
    names = [shortened(name, LONGEST_NAME) for name in rows["true"]]
    size = _SMALL if len(names) <= MANY_CLASSES else 7
    longest = max(map(len, names))
    turned = len(names) * longest > 70
    axes.set_xticks(range(len(names)), names, rotation=90 if turned else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, thing in zip(labels, rows["true_thing"], strict=True):
            label.set_fontweight("bold" if thing else "normal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class (bold: things)")
    axes.set_ylabel("true class")
    transform = axes.get_yaxis_transform()
    axes.text(1.01, 1.0, "true pixels", transform=axes.transAxes, va="bottom", ha="left", fontsize=size - 0.5)
    for row, pixels in enumerate(rows["true_pixels"]):
        axes.text(1.01, row, f"{pixels:,}", transform=transform, va="center", fontsize=size - 0.5)
