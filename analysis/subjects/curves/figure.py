"""Curves over epochs: those of one trial on two axes, and those of a search's losses on one."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.subjects.canvas import new_figure
from analysis.subjects.palette import loss_colors

_LOSS_COLOR: Final = "#0072B2"
_SCORE_COLORS: Final = ("#D55E00", "#009E73")
_SMALL: Final = 8
_OUTLIER: Final = 50
"""From so many times the median on a loss is drawn on a logarithmic axis, as that of a diverged trial."""


def draw_training(frame: pd.DataFrame, titles: Mapping[str, str], box: str, ended: str = "") -> Figure:
    """Draw losses on the left axis and scores on the right one.

    Args:
        frame: Of one trial, with the columns epoch, best, and those of `titles`.
        titles: What each column is called, by column: `train_loss` is dashed, `dev_loss` is not, all others are scores.
        box: What the text box above the best epoch says; not drawn where no epoch is the best.
        ended: Written at the last epoch, where it needs words; may be empty.
    """
    figure = new_figure(height=3.9)
    axes = figure.subplots()
    scores = axes.twinx()
    scores.spines["right"].set_visible(True)
    handles = [
        *_plot(axes, frame, {name: titles[name] for name in titles if name.endswith("_loss")}, [_LOSS_COLOR] * 2),
        *_plot(scores, frame, {name: titles[name] for name in titles if not name.endswith("_loss")}, _SCORE_COLORS),
    ]
    _label_axis(axes, f"loss{_scale_losses(axes, frame)}", _LOSS_COLOR)
    shown = [title for name, title in titles.items() if not name.endswith("_loss")]
    _label_axis(scores, shown[0] if len(shown) == 1 else "score on dev", _SCORE_COLORS[0])
    _limit_scores(scores)
    _label_epochs(axes, int(frame["epoch"].max()))
    if frame["best"].any():
        _mark_best(axes, int(frame.loc[frame["best"], "epoch"].iloc[0]), box)
        handles.append(Line2D([], [], color="#555555", ls=":", marker="o", ms=5, label="best epoch"))
    if ended:
        last = int(frame["epoch"].max())
        handles.append(axes.axvline(last, color="#888888", lw=1, ls=(0, (1, 3)), label=ended))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5), fontsize=_SMALL)
    return figure


def _plot(axes: Axes, frame: pd.DataFrame, titles: Mapping[str, str], colors: Sequence[str]) -> list[Line2D]:
    """Draw each column that has a value, with a dot at the best epoch; the others are left to the caption."""
    handles = []
    dots = "." if len(frame) <= 20 else ""  # more would hide that train loss is dashed
    for (name, title), color in zip(titles.items(), colors, strict=False):
        if not frame[name].notna().any():
            continue
        style = "--" if name == "train_loss" else "-"
        handles += axes.plot(frame["epoch"], frame[name], style, color=color, marker=dots, ms=4, lw=1.5, label=title)
        if name != "train_loss":
            best = frame[frame["best"]]
            axes.plot(best["epoch"], best[name], "o", color=color, ms=6, mec="white", mew=0.8, zorder=5)
    return handles


def _scale_losses(axes: Axes, frame: pd.DataFrame) -> str:
    """Take a logarithmic axis where one value would squash all others; returns what the label adds."""
    losses = frame[["train_loss", "dev_loss"]].to_numpy().ravel()
    losses = losses[~np.isnan(losses)]
    if not len(losses):
        axes.set_yticks([])
        return " (none recorded)"
    if (losses > 0).all() and losses.max() > _OUTLIER * np.median(losses):
        axes.set_yscale("log")
        return " (logarithmic)"
    if (losses >= 0).all():
        axes.set_ylim(0, 1.08 * losses.max() or 1)
    return ""


def _label_axis(axes: Axes, label: str, color: str) -> None:
    axes.set_ylabel(label, color=color)
    axes.tick_params(axis="y", labelcolor=color, labelsize=_SMALL)


def _limit_scores(axes: Axes) -> None:
    """From 0 to a little above the highest score; all scores are shares."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.lines] or [np.zeros(1)])
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
    axes.set_ylim(0, min(1.12 * highest, 1.02) or 1)


def _label_epochs(axes: Axes, last: int) -> None:
    margin = max(0.5, 0.02 * last) if last < 10 else 0.02 * last
    axes.set_xlim(1 - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=min(10, last), integer=True, min_n_ticks=1))
    axes.tick_params(axis="x", labelsize=_SMALL)
    axes.set_xlabel("epoch")


def _mark_best(axes: Axes, epoch: int, box: str) -> None:
    """A dotted line, and the box above the axes, where it hides no data."""
    axes.axvline(epoch, color="#555555", ls=":", lw=1)
    left, right = axes.get_xlim()
    place = (epoch - left) / (right - left)
    side = "left" if place < 0.3 else "right" if place > 0.7 else "center"
    anchor = {"left": max(place - 0.03, 0.0), "right": min(place + 0.03, 1.0), "center": place}[side]
    frame = {"boxstyle": "square,pad=0.35", "edgecolor": "#cccccc", "facecolor": "white"}
    axes.text(anchor, 1.035, box, transform=axes.transAxes, ha=side, va="bottom", fontsize=_SMALL + 0.5, bbox=frame)


def draw_loss_curves(
    best: pd.DataFrame, faint: pd.DataFrame, labels: Mapping[str, str], titles: Mapping[str, str], max_epochs: int
) -> Figure:
    """Draw a panel for each metric with a curve for each loss; those of pruned trials are thin.

    Args:
        best: Of the curves to compare, with the columns loss, metric, epoch, value, best.
        faint: The same of pruned trials, with trial_id.
        labels: What each loss's curve is called in the legend, by loss, the first at the top.
        titles: What each metric's axis is called, by metric, from the top.
        max_epochs: A curve that ends before is marked at its end.
    """
    figure = new_figure(height=1.0 + 2.7 * len(titles) + 0.17 * len(labels))
    panels = figure.subplots(len(titles), 1, sharex=True, squeeze=False)[:, 0]
    colors = loss_colors(list(labels))
    for axes, (metric, title) in zip(panels, titles.items(), strict=True):
        _draw_losses(axes, best[best["metric"] == metric], faint[faint["metric"] == metric], colors, max_epochs)
        axes.set_ylabel(f"{title} on dev")
        axes.grid(axis="y")
        axes.tick_params(labelsize=_SMALL)
        _limit_scores(axes)
    _label_epochs(panels[-1], max(max_epochs, int(best["epoch"].max())))
    handles = [Line2D([], [], color=colors[loss], lw=1.8, label=label) for loss, label in labels.items()]
    handles.append(Line2D([], [], ls="", marker="o", color="#555555", ms=5, label="best epoch by the objective"))
    if (best.groupby("loss")["epoch"].max() < max_epochs).any():
        handles.append(Line2D([], [], ls="", marker="X", color="#555555", ms=6, label="ended early"))
    if len(faint):
        handles.append(Line2D([], [], color="#888888", lw=0.7, alpha=0.7, label="thin: pruned trials of the loss"))
    figure.legend(handles=handles, loc="outside lower center", ncols=1, fontsize=_SMALL)
    return figure


def _draw_losses(
    axes: Axes, best: pd.DataFrame, faint: pd.DataFrame, colors: Mapping[str, str], max_epochs: int
) -> None:
    for _, curve in faint.groupby("trial_id", sort=False):
        color = colors[curve["loss"].iloc[0]]
        axes.plot(curve["epoch"], curve["value"], color=color, lw=0.7, alpha=0.5, marker=".", ms=2, zorder=1)
    for loss, curve in best.groupby("loss", sort=False):
        color = colors[str(loss)]
        axes.plot(curve["epoch"], curve["value"], color=color, lw=1.8, zorder=3)
        top = curve[curve["best"]]
        axes.plot(top["epoch"], top["value"], "o", color=color, ms=6, mec="white", mew=0.8, zorder=4)
        last = curve.iloc[-1]
        if last["epoch"] < max_epochs:
            axes.plot([last["epoch"]], [last["value"]], "X", color=color, ms=7, mec="white", mew=0.8, zorder=5)
