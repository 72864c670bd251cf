"""From a plate to its files and its images on the page."""

import io
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from analysis.report.document import MissingPlate
from analysis.report.gather import failure
from analysis.report.raster import EmbeddedImage, embedded_image
from analysis.subjects.canvas import styled
from analysis.subjects.palette import CLASS_COLORS, SAFE_COLORS, Palette
from analysis.subjects.plate import Plate, Unavailable

logger = logging.getLogger(__name__)

ImageFormat = Literal["png", "svg", "pdf"]

_FILE_DPI: Final = 300
"""Of a PNG, and of what is a photograph in an SVG or PDF: what journals ask for."""

# Without dates and random ids the same numbers make the same files, byte for byte.
_NO_DATE: Final[dict[str, dict[str, None]]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
_SALT: Final[dict[Any, Any]] = {"svg.hashsalt": "aerosweep"}

_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,119}")


@dataclass(frozen=True)
class RenderedFigure:
    """A figure that was drawn.

    Attributes:
        files: By name of the palette and `csv`: name and content of `losses.svg`, `losses_safe.svg`, `losses.csv`.
        images: The page's, by name of the palette; one only where no class colours are used.
    """

    files: Mapping[str, tuple[str, bytes]]
    images: Mapping[str, EmbeddedImage]


def check_keys(plates: Sequence[Plate]) -> dict[int, ValueError]:
    """What is wrong with the key of a plate, by its place among them; a key that can name files has no entry.

    Some file systems take `A` for `a`, and a safe figure's name must not be another's.
    """
    wrong: dict[int, ValueError] = {}
    taken: set[str] = set()
    for place, plate in enumerate(plates):
        names = {plate.key.lower(), f"{plate.key}_safe".lower()} if plate.shows_classes else {plate.key.lower()}
        if not _KEY.fullmatch(plate.key):
            rule = "a key must be of up to 120 letters, digits, dashes and underscores"
            wrong[place] = ValueError(f"{rule}; got {plate.key!r}. Rename it")
        elif names & taken:
            wrong[place] = ValueError(f"keys must be unique in a report; {plate.key!r} names files twice. Rename it")
        else:
            taken |= names
    return wrong


def render(plate: Plate, image_format: ImageFormat) -> RenderedFigure | MissingPlate:
    """Draw a plate; a figure that cannot be drawn costs its own place and nothing else.

    Args:
        plate: What to draw.
        image_format: Of the files.

    Returns:
        The figure; or why there is none. The traceback of an error is logged.
    """
    try:
        return _draw(plate, image_format)
    except Unavailable as reason:
        return MissingPlate(plate.title, str(reason))
    except Exception as error:
        logger.exception("the figure %r could not be drawn", plate.key)
        return MissingPlate(plate.title, failure(error))


def _draw(plate: Plate, image_format: ImageFormat) -> RenderedFigure:
    files: dict[str, tuple[str, bytes]] = {}
    images: dict[str, EmbeddedImage] = {}
    palettes = (CLASS_COLORS, SAFE_COLORS) if plate.shows_classes else (CLASS_COLORS,)
    for palette in palettes:
        data, images[palette.name] = _draw_in(plate, palette, image_format)
        files[palette.name] = figure_file(plate.key, palette, image_format), data
    files["csv"] = f"{plate.key}.csv", table_bytes(plate.table)
    return RenderedFigure(files, images)


def figure_file(key: str, palette: Palette, image_format: ImageFormat) -> str:
    """Name of a figure's file in a palette."""
    return f"{key}{'_safe' if palette == SAFE_COLORS else ''}.{image_format}"


def _draw_in(plate: Plate, palette: Palette, image_format: ImageFormat) -> tuple[bytes, EmbeddedImage]:
    """The file, and the image of the page; the figure is let go of."""
    with styled(), mpl.rc_context(_SALT):
        figure = plate.draw(palette)
        try:
            return _saved(figure, image_format), embedded_image(figure, plate.photographs)
        finally:
            figure.clear()  # it refers to itself: its arrays would wait for the garbage collector


def _saved(figure: Figure, image_format: ImageFormat) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=image_format, dpi=_FILE_DPI, metadata=_NO_DATE[image_format])
    return buffer.getvalue()


def table_bytes(table: pd.DataFrame) -> bytes:
    """A table as CSV, UTF-8; its index is written where it has a name."""
    has_index = any(name is not None for name in table.index.names)
    text: str = table.to_csv(index=has_index, lineterminator="\n")
    return utf8(text)


def utf8(text: str) -> bytes:
    """Encode; file names that are no UTF-8 reach us as lone surrogates, which have no encoding, and show as escapes."""
    return text.encode("utf-8", errors="backslashreplace")
