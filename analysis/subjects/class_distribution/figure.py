"""How frequent the classes of an image set are: as bars on two linear axes, and as points on a logarithmic one."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from analysis.subjects.canvas import WIDTH, new_figure
from analysis.words.share_words import percent

SPLIT_COLORS: Final = (("#0072B2", "#9ECAE1"), ("#009E73", "#A6DBC9"), ("#D55E00", "#F5C29B"))
"""A dark shade for pixels, a light one for images, of the first, a middle and the last split."""

_SIZES: Final = (44, 22, 9)
"""Of points, in square points: of alike shares all are seen."""

_MARKERS: Final = ("o", "s", "D")
_THING_ROW: Final = "#f3eee2"


def draw_class_bars(frame: pd.DataFrame) -> Figure:
    """Draw the share of pixels (left axis) and of images (right axis) of each class and split as bars.

    Args:
        frame: Of `analysis.subjects.class_distribution.table.tabulate_class_distribution`.
    """
    classes, splits = _names(frame)
    longest = max(len(name) for name in classes)
    level = len(classes) * max(longest, 5) <= 110
    figure = new_figure(WIDTH, 3.6 if level else 3.5 + 0.045 * longest)
    left = figure.subplots()
    right = left.twinx()
    width, places = 0.84 / (2 * len(splits)), np.arange(len(classes))
    for number, (split, (dark, light)) in enumerate(zip(splits, _colors(splits), strict=True)):
        rows = frame[frame["split"] == split]
        for half, (axes, column, color) in enumerate(((left, "pixel_share", dark), (right, "image_share", light))):
            offset = (2 * number + half - len(splits) + 0.5) * width
            axes.bar(places + offset, rows[column].to_numpy(), width, color=color, label=f"{split}: {column[:5]}s")
    _finish_bars(left, right, frame, level)
    handles = [bars for pair in zip(left.containers, right.containers, strict=True) for bars in pair]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _finish_bars(left: Axes, right: Axes, frame: pd.DataFrame, level: bool) -> None:
    classes, _ = _names(frame)
    left.set_xticks(np.arange(len(classes)), classes)
    if not level:
        left.tick_params(axis="x", length=2)
        for label in left.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    for place in np.flatnonzero(frame.groupby("class", sort=False)["pixels"].sum() == 0).tolist():
        left.annotate("none", (place, 0), (0, 3), textcoords="offset points", ha="center", fontsize=7)
    _mark_things(left.get_xticklabels(), frame)
    left.set_xlim(-0.6, len(classes) - 0.4)
    left.set(xlabel="class (bold: thing)", ylabel="share of labelled pixels")
    right.set(ylim=(0, 1.05), ylabel="share of images that have it")
    right.spines["right"].set_visible(True)
    left.set_ylim(0, max(0.05, 1.05 * float(np.nanmax(frame["pixel_share"]))))
    for axes in (left, right):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))


def draw_class_scale(frame: pd.DataFrame) -> Figure:
    """Draw the share of pixels of each class and split on a logarithmic axis, and of images on a linear one.

    Args:
        frame: Of `analysis.subjects.class_distribution.table.tabulate_class_distribution`, with a labelled pixel.
    """
    classes, splits = _names(frame)
    figure = new_figure(WIDTH, 1.3 + 0.27 * len(classes))
    pixels, images = figure.subplots(1, 2, sharey=True, width_ratios=(1.4, 1))
    for axes, column in ((pixels, "pixel_share"), (images, "image_share")):
        _draw_points(axes, frame, column)
        _write_values(axes, frame, column)
    _scale_by_tens(pixels, float(frame.loc[frame["pixels"] > 0, "pixel_share"].min()))
    images.set_xlim(-0.03, 1.05)
    images.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    pixels.set(xlabel="share of the split's labelled pixels\n(each line: ten times as many)")
    images.set(xlabel="share of the split's images\nthat have it")
    pixels.set_yticks(np.arange(len(classes)), classes)
    _mark_things(pixels.get_yticklabels(), frame)
    pixels.set_ylim(len(classes) - 0.5, -0.5)
    images.tick_params(axis="y", length=0)
    figure.legend(handles=_scale_legend(frame), loc="outside upper center", ncols=len(splits) + 1)
    return figure


def _scale_by_tens(axes: Axes, smallest: float) -> None:
    """A logarithmic axis with a line at each power of ten; at most five of them are named."""
    least = min(-1, int(np.floor(np.log10(smallest) - 0.1)))
    powers = np.arange(least, 1)
    step = -(-len(powers) // 5)
    axes.set_xscale("log")
    axes.set_xlim(10.0**least, 1.4)
    names = [f"{100 * 10.0**power:.10g} %" if power % step == 0 else "" for power in powers.tolist()]
    axes.set_xticks(10.0**powers, names, fontsize=8)
    axes.set_xticks([], minor=True)


def _draw_points(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    """A point for each split, joined; a class that does not occur has none."""
    classes, splits = _names(frame)
    things = frame.drop_duplicates("class")["thing"].to_numpy()
    for row in np.flatnonzero(things).tolist():
        axes.axhspan(row - 0.5, row + 0.5, color=_THING_ROW, linewidth=0, zorder=0)
    shares = frame[column].to_numpy(dtype=np.float64).reshape(len(classes), len(splits))
    shown = np.where(shares > 0, shares, np.nan)
    for row, values in enumerate(shown):
        present = values[~np.isnan(values)]
        if len(present) > 1:
            axes.plot([present.min(), present.max()], [row, row], color="#8A8A8A", linewidth=1, zorder=2)
    for number, (dark, _) in enumerate(_colors(splits)):
        axes.scatter(
            shown[:, number],
            np.arange(len(classes)),
            s=_size(number, splits),
            color=dark,
            marker=_marker(number, splits),
            zorder=3,
        )
    axes.grid(True, axis="x", zorder=1)


def _write_values(axes: Axes, frame: pd.DataFrame, column: str) -> None:
    """The numbers, in a column a split, right of the axes."""
    splits = _names(frame)[1]
    words = {
        split: [percent(float(share)) if share > 0 else "none" for share in frame.loc[frame["split"] == split, column]]
        for split in splits
    }
    across = 8 + 4.5 * max(6, *(len(word) for texts in words.values() for word in texts))
    for number, (split, (dark, _)) in enumerate(zip(splits, _colors(splits), strict=True)):
        for row, word in enumerate(words[split]):
            _write_beside(axes, word, row, (across * (number + 1), 0), dark)
        _write_beside(axes, split, -0.5, (across * (number + 1), 6), dark)


def _write_beside(axes: Axes, text: str, row: float, points: tuple[float, float], color: str) -> None:
    """Write so many points from where the row meets the right edge of the axes."""
    axes.annotate(
        text, (1, row), points, xycoords=("axes fraction", "data"), textcoords="offset points", ha="right", va="center",
        fontsize=7, color=color, annotation_clip=False,
    )  # fmt: skip


def _scale_legend(frame: pd.DataFrame) -> list[Line2D | Patch]:
    _, splits = _names(frame)
    points = [
        Line2D([], [], marker=_marker(number, splits), linestyle="", color=dark, markersize=5, label=split)
        for number, (split, (dark, _)) in enumerate(zip(splits, _colors(splits), strict=True))
    ]
    return [*points, Patch(color=_THING_ROW, label="thing class (countable objects)")]


def _names(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    return frame["class"].drop_duplicates().tolist(), frame["split"].drop_duplicates().tolist()


def _colors(splits: list[str]) -> list[tuple[str, str]]:
    """The last split has the last colour, however many there are."""
    return [SPLIT_COLORS[-1] if i and i == len(splits) - 1 else SPLIT_COLORS[i % 2] for i in range(len(splits))]


def _marker(number: int, splits: list[str]) -> str:
    return _MARKERS[-1] if number and number == len(splits) - 1 else _MARKERS[number % 2]


def _size(number: int, splits: list[str]) -> int:
    return _SIZES[-1] if number and number == len(splits) - 1 else _SIZES[number % 2]


def _mark_things(labels: list[Text], frame: pd.DataFrame) -> None:
    things = frame.drop_duplicates("class")["thing"]
    for label, thing in zip(labels, things, strict=True):
        label.set_fontweight("bold" if thing else "normal")
