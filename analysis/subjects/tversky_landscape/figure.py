"""The trials of a Tversky search as points: the objective over alpha and beta, and over gamma."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.subjects.canvas import new_figure
from analysis.words.number_words import trimmed

_SMALL: Final = 7.5
"""Points, of texts that stand close."""
_GREY: Final = "#8a8a8a"
_MARKERS: Final = {"tversky": "o", "dice": "s", "iou": "s"}
_UNENDED: Final = "^"


def draw_tversky(
    frame: pd.DataFrame,
    references: Mapping[str, tuple[float, float]],
    objective: str,
    max_epochs: int,
    note: str = "",
) -> Figure:
    """Draw the plane of alpha and beta coloured by the objective, and the objective over gamma.

    Args:
        frame: As of `table.tabulate_tversky`, with an objective in one row at least; other rows without one are drawn
            where they diverged.
        references: Alpha and beta of points to mark, by name.
        objective: Its title.
        max_epochs: Of a trial at full length.
        note: Stands above the legend.
    """
    figure = new_figure(height=4.9)
    plane, along_gamma = figure.subplots(1, 2, width_ratios=[1.15, 1])
    scored = frame[frame["objective"].notna()].assign(full=frame["ending"] == "full")
    scored = scored.sort_values(["full", "objective"], kind="stable")
    diverged = frame[frame["ending"] == "diverged"]
    low, high = float(scored["objective"].min()), float(scored["objective"].max())
    shade = Normalize(low, high) if high > low else Normalize(low - 0.01, high + 0.01)
    title = f"{objective} on dev, best epoch"
    _draw_plane(plane, scored, diverged, references, shade)
    _add_bar(figure, plane, "viridis", shade, title)
    _draw_gamma(along_gamma, scored, diverged, title)
    _add_bar(figure, along_gamma, "cividis", Normalize(0, 1), "alpha / (alpha + beta)")
    handles = _entries(scored, diverged, max_epochs)
    wrapped = textwrap.fill(note, 110) or None
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=_SMALL, title=wrapped, title_fontsize=_SMALL
    )
    return figure


def _draw_plane(
    axes: Axes,
    scored: pd.DataFrame,
    diverged: pd.DataFrame,
    references: Mapping[str, tuple[float, float]],
    shade: Normalize,
) -> None:
    end = 1.12 * max(1.0, float(scored[["alpha", "beta"]].max().max()))
    axes.set(xlim=(-0.04 * end, end), ylim=(-0.04 * end, end), aspect="equal")
    _draw_lines(axes, end)
    for name, (alpha, beta) in references.items():
        axes.plot(alpha, beta, "+", color="black", ms=13, mew=0.8, zorder=1)
        label = f"{name} ({trimmed(alpha)}, {trimmed(beta)})"
        _write(axes, label, (alpha, beta), below=True, align=_free_side(label, (alpha, beta), scored, end))
    _draw_points(axes, scored, ("alpha", "beta"), "objective", "viridis", shade)
    axes.plot(diverged["alpha"], diverged["beta"], "x", color="black", ms=5.5)
    axes.set_xlabel("alpha (weight of false negatives)")
    axes.set_ylabel("beta (weight of false positives)")


def _free_side(text: str, place: tuple[float, float], scored: pd.DataFrame, end: float) -> str:
    """How to align a word below its mark so that no point hides it; centred where all sides have points."""
    alpha, beta = place
    width, margin = 0.016 * end * len(text), 0.015 * end  # of small type, and of half a point
    beside = scored.loc[scored["beta"].between(beta - 0.095 * end, beta - 0.022 * end), "alpha"]
    for align, left in (("center", alpha - width / 2), ("right", alpha - width), ("left", alpha)):
        if not beside.between(left - margin, left + width + margin).any():
            return align
    return "center"


def _write(axes: Axes, text: str, place: tuple[float, float], *, below: bool, align: str = "center") -> None:
    """A word beside a point, on white so that it is read over lines; what stands below does not hide other points."""
    offset, edge, layer = (-9, "top", 1) if below else (6, "bottom", 4)
    ground = {"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85}
    axes.annotate(
        text, place, (0, offset), textcoords="offset points", ha=align, va=edge, fontsize=6.5, zorder=layer,
        bbox=ground,
    )  # fmt: skip


def _draw_lines(axes: Axes, end: float) -> None:
    """Where both errors weigh alike, and where the weights add up to 1."""
    axes.plot([0, end], [0, end], ls=":", color=_GREY, lw=0.8, zorder=0)
    axes.plot([0, 1], [1, 0], ls="--", color=_GREY, lw=0.8, zorder=0)
    axes.text(0.22, 0.22, "alpha = beta", color="#666666", fontsize=6.5, rotation=45, ha="center", va="bottom",
              rotation_mode="anchor")  # fmt: skip
    axes.text(0.17, 0.83, "alpha + beta = 1", color="#666666", fontsize=6.5, rotation=-45, ha="center", va="bottom",
              rotation_mode="anchor")  # fmt: skip


def _draw_gamma(axes: Axes, scored: pd.DataFrame, diverged: pd.DataFrame, title: str) -> None:
    _draw_points(axes, scored, ("gamma", "objective"), "alpha_share", "cividis", Normalize(0, 1))
    # A diverged trial has no objective: its gamma is marked at the bottom.
    bottom = np.full(len(diverged), 0.02)
    axes.plot(diverged["gamma"], bottom, "x", color="black", ms=5.5, transform=axes.get_xaxis_transform())
    axes.axvline(1, ls=":", color=_GREY, lw=0.8, zorder=0)
    axes.margins(0.1)
    axes.set_xlabel("gamma (exponent)")
    axes.set_ylabel(title)


def _draw_points(
    axes: Axes, scored: pd.DataFrame, place: tuple[str, str], shaded_by: str, colors: str, shade: Normalize
) -> None:
    """Filled where the trial ran the full length, else hollow; the last lies on top, and has its id if it is full."""
    colormap = _dark_part(colors)
    for _, row in scored.iterrows():
        color = colormap(shade(row[shaded_by]))
        marker = _UNENDED if row["ending"] == "unended" else _MARKERS[row["loss"]]
        full = row["full"]
        axes.plot(row[place[0]], row[place[1]], marker, ms=7, mfc=color if full else "none",
                  mec="black" if full else color, mew=0.5 if full else 1.6)  # fmt: skip
    for _, best in scored[scored["full"]].tail(1).iterrows():
        _write(axes, str(best["trial_id"]), (best[place[0]], best[place[1]]), below=False)


def _dark_part(name: str) -> Colormap:
    """The colours without the last tenth, whose yellow vanishes on white where a point is hollow."""
    return ListedColormap(mpl.colormaps[name](np.linspace(0, 0.9, 256)))


def _add_bar(figure: Figure, axes: Axes, colors: str, shade: Normalize, label: str) -> None:
    mappable = ScalarMappable(shade, _dark_part(colors))
    bar = figure.colorbar(mappable, ax=axes, location="top", fraction=0.05, pad=0.03)
    bar.set_label(label, fontsize=8)
    bar.ax.xaxis.set_major_locator(MaxNLocator(5))
    bar.ax.tick_params(labelsize=_SMALL)


def _entries(scored: pd.DataFrame, diverged: pd.DataFrame, max_epochs: int) -> Sequence[Line2D]:
    """What stands for what, of what is there."""
    endings, losses = set(scored["ending"]), set(scored["loss"])
    hollow: dict[str, Any] = {"mfc": "none", "mew": 1.6}
    known: list[tuple[bool, str, str, dict[str, Any]]] = [
        ("full" in endings, "o", f"all {max_epochs} epochs", {}),
        ("early" in endings, "o", "stopped early: its value then", hollow),
        ("unended" in endings, _UNENDED, "not ended: its value so far", hollow),
        (len(diverged) > 0, "x", "diverged: no value", {"color": "black"}),
        (bool(losses & {"dice", "iou"}), "s", "trial with the Dice or IoU loss", {}),
        (True, "+", "loss used without a search, gamma 1", {"color": "black", "ms": 10, "mew": 0.8}),
    ]
    defaults: dict[str, Any] = {"ls": "", "color": "#777777", "ms": 6}
    return [
        Line2D([], [], marker=marker, label=label, **(defaults | style))
        for there, marker, label, style in known
        if there
    ]
