"""What the report is made of: a figure with its caption and its numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from analysis.subjects.palette import Palette


class Unavailable(Exception):  # noqa: N818 (no error: the report says so and goes on)
    """A plate that cannot be made; the message says what is missing, why, and what to do, for the report's reader."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Plate:
    """One figure of the report.

    Attributes:
        key: Its file's name without a suffix, unique in the report: `class_distribution`.
        title: Its heading.
        shows: One sentence, for a reader who has never seen such a figure: what it shows and how to read it.
        says: One sentence or two with numbers: what this search says; empty where the numbers support no claim.
        alt: What a reader who cannot see it needs to know.
        table: The numbers that are drawn, with run ids where they come from runs.
        draw: Draws the figure in a palette.
        shows_classes: It uses class colours, so that it is drawn in the colour-blind-safe palette as well.
        photographs: It is made of photographs, so that the page embeds it as JPEG.
    """

    key: str
    title: str
    shows: str
    says: str
    alt: str
    table: pd.DataFrame
    draw: Callable[[Palette], Figure]
    shows_classes: bool = False
    photographs: bool = False
