"""A figure to draw on, in the one style of all figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#d9d9d9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: it is searched and read aloud
    "pdf.fonttype": 42,
}

WIDTH: Final = 7.5
"""Inches across a figure of the report; text is then of one size in all of them."""


@contextmanager
def styled() -> Iterator[None]:
    """The style, for all that is drawn and saved within; the user's own settings of matplotlib are left alone."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def new_figure(width: float = WIDTH, height: float = 4.0) -> Figure:
    """An empty figure with a constrained layout, that no global state of matplotlib knows of; draw within `styled`.

    Args:
        width: Inches.
        height: Inches.
    """
    return Figure(figsize=(width, height), layout="constrained")
