"""The average image: where thing classes lie, all in one map and each by itself."""

import textwrap
from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from analysis.subjects.canvas import WIDTH, new_figure
from analysis.subjects.palette import Color
from analysis.words.share_words import percent

CLASS_MAP = "cividis"
"""Perceptually uniform, also for the colour-blind."""

_TALLEST = 4.6


def draw_average_image(shares_THW: NDArray[np.floating], names: Sequence[str], colors: Sequence[Color]) -> Figure:
    """Draw all thing classes in one map, in class colours, the stronger the more images have a thing there.

    Args:
        shares_THW: Share of images by thing class and position, in 0..1, somewhere over 0.
        names: Of the thing classes.
        colors: Of the thing classes.
    """
    norm = PowerNorm(0.5, vmin=0, vmax=float(shares_THW.sum(axis=0).max()))
    ratio = shares_THW.shape[1] / shares_THW.shape[2]
    width = min(WIDTH - 1.2, _TALLEST / ratio)
    figure = new_figure(WIDTH, width * ratio + 0.35 + 0.2 * _legend_rows(names))
    axes = figure.subplots()
    axes.imshow(mix_colors(shares_THW, np.array(colors), norm), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    bar = figure.colorbar(ScalarMappable(norm, "Greys"), ax=axes, pad=0.02, shrink=0.9)
    bar.set_label("share of images with a thing here\n(strength of the colour, square-root scale)")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    handles = [Patch(facecolor=color, label=name) for name, color in zip(names, colors, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=_legend_columns(names))
    return figure


def mix_colors(
    shares_THW: NDArray[np.floating], colors_T3: NDArray[np.floating], norm: PowerNorm
) -> NDArray[np.floating]:
    """Mix class colours by share and lay them over white.

    Args:
        shares_THW: Share of images by thing class and position.
        colors_T3: RGB of each class, in 0..1.
        norm: From the sum of the shares to the strength of the colour, in 0..1.

    Returns:
        RGB in 0..1, (H, W, 3).
    """
    total_HW = shares_THW.sum(axis=0)
    mixed_HW3 = np.einsum("thw,tc->hwc", shares_THW, colors_T3) / np.where(total_HW > 0, total_HW, 1)[..., None]
    strength_HW1 = np.asarray(norm(total_HW), dtype=np.float64)[..., None]
    painted: NDArray[np.floating] = np.clip(1 - strength_HW1 * (1 - mixed_HW3), 0, 1)
    return painted


def draw_class_maps(shares_THW: NDArray[np.floating], names: Sequence[str], images: Sequence[int]) -> Figure:
    """Draw a map for each thing class, each on its own scale.

    Args:
        shares_THW: Share of images by thing class and position, in 0..1; each class is somewhere over 0.
        names: Of the thing classes.
        images: How many images have each.
    """
    columns = min(4 if len(names) > 6 else 3, len(names))
    rows = ceil(len(names) / columns)
    ratio = shares_THW.shape[1] / shares_THW.shape[2]
    height = min(rows * (WIDTH / columns * 0.72 * ratio + 0.45), 9.5)
    figure = new_figure(WIDTH, max(height, 1.5))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, shares, name, count in zip(panels, shares_THW, names, images, strict=False):
        most = float(shares.max())
        drawn = axes.imshow(shares, cmap=CLASS_MAP, vmin=0, vmax=most, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        title = textwrap.fill(name, 96 // columns)
        axes.set_title(f"{title}\n{count:,} image{'s' * (count != 1)}", fontsize=8, loc="left")
        bar = figure.colorbar(drawn, ax=axes, pad=0.03, ticks=[0, most], fraction=0.06)
        bar.ax.set_yticklabels(["0", percent(most)], fontsize=7)
    for axes in panels[len(names) :]:
        axes.remove()
    return figure


def _legend_columns(names: Sequence[str]) -> int:
    return max(1, min(len(names), int(95 / (max(len(name) for name in names) + 6))))


def _legend_rows(names: Sequence[str]) -> int:
    return ceil(len(names) / _legend_columns(names))
