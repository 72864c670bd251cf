"""IoU by class and epoch: a heat map."""

from typing import Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.subjects.canvas import new_figure
from analysis.subjects.confusion.figure import LONGEST_NAME
from analysis.words.number_words import short, shortened
from analysis.words.share_words import percent

_SMALL: Final = 8
_MISSING: Final = "#d0d0d0"


def draw_class_iou(frame: pd.DataFrame, left_out: str = "") -> Figure:
    """Draw a row for each class and a column for each epoch, with the best epoch's numbers at the right.

    Args:
        frame: As of `analysis.subjects.curves.class_table.tabulate_class_iou`, at least one row.
        left_out: Written below the axis; may be empty.
    """
    classes = frame.drop_duplicates("class")
    values = frame.pivot(index="class", columns="epoch", values="iou").reindex(classes["class"])
    epochs = values.shape[1]
    figure = new_figure(height=1.75 + 0.225 * len(classes))
    axes = figure.subplots()
    colors = mpl.colormaps["viridis"].with_extremes(bad=_MISSING)
    image = axes.imshow(
        np.ma.masked_invalid(values.to_numpy()), cmap=colors, vmin=0, vmax=1, aspect="auto", interpolation="nearest",
        extent=(0.5, epochs + 0.5, len(classes) - 0.5, -0.5),
    )  # fmt: skip
    _name_classes(axes, classes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(10, epochs), integer=True, min_n_ticks=1))
    axes.tick_params(labelsize=_SMALL, length=2)
    axes.set_xlabel(f"epoch\n{left_out}" if left_out else "epoch")
    axes.spines[:].set_visible(False)
    _write_best(axes, frame[frame["best"]].set_index("class")["iou"].reindex(classes["class"]), frame)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.set_label("IoU on dev", fontsize=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure


def _name_classes(axes: Axes, classes: pd.DataFrame) -> None:
    labels = [
        shortened(row["class"], LONGEST_NAME)
        + ("" if np.isnan(row["pixel_share"]) else f"  {percent(row['pixel_share'])}")
        for row in classes.to_dict("records")
    ]
    axes.set_yticks(range(len(labels)), labels)
    for label, thing in zip(axes.get_yticklabels(), classes["thing"], strict=True):
        label.set_fontweight("bold" if thing else "normal")
    things = int(classes["thing"].sum())
    if 0 < things < len(classes):
        axes.axhline(things - 0.5, color="white", lw=2.5)


def _write_best(axes: Axes, ious: "pd.Series[float]", frame: pd.DataFrame) -> None:
    """A triangle over the best epoch, and its IoU beside each row."""
    if not frame["best"].any():
        return
    epoch = int(frame.loc[frame["best"], "epoch"].iloc[0])
    axes.plot([epoch], [1.0], "v", color="black", ms=6, clip_on=False, transform=axes.get_xaxis_transform())
    for row, value in enumerate(ious):
        axes.text(1.01, row, short(value), transform=axes.get_yaxis_transform(), va="center", fontsize=_SMALL)
    axes.set_title(f"bold: things; numbers: IoU in the best epoch, {epoch} (triangle)", fontsize=_SMALL, loc="right")
