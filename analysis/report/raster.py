"""A figure as a small image, to be embedded in a page.

Line art becomes a PNG of 256 colours, photographs a JPEG. Median cut alone moves the colours of small areas (a rare
class's patch in the legend by 90 levels of 255), so the colours of all solid areas come first and keep their values.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

CSS_PIXELS: Final = 128
"""Pixels of the page to an inch of the figure: a figure of the report's width is 960 across, and 9 pt are 16 pixels."""

SHARP_DPI: Final = 195
"""For line art: a dense screen has more than one dot to a pixel, and phones are zoomed."""

PLAIN_DPI: Final = 130
"""For photographs, and line art that would be too large."""

LARGE: Final = 80_000
"""Bytes that line art may have at `SHARP_DPI`."""

_COLORS: Final = 256
_SOLID_COLORS: Final = 200
"""Of the palette; what is left is for the mixed colours of edges."""
_TOLERANCE: Final = 4
"""Levels that a solid colour may move, in 0..255: less than can be seen."""
_JPEG_QUALITY: Final = 85


@dataclass(frozen=True)
class EmbeddedImage:
    """An image of the page.

    Attributes:
        mime: `image/png` or `image/jpeg`.
        data: The file.
        width: On the page, in CSS pixels.
        height: Likewise.
    """

    mime: str
    data: bytes
    width: int
    height: int


def embedded_image(figure: Figure, photographs: bool) -> EmbeddedImage:
    """Draw a figure for the page; within `analysis.subjects.canvas.styled`.

    Args:
        figure: What to draw.
        photographs: Whether it is made of photographs.
    """
    across, down = figure.get_size_inches()
    mime, data = ("image/jpeg", _jpeg(_drawn(figure, PLAIN_DPI))) if photographs else _line_art(figure)
    return EmbeddedImage(mime, data, round(across * CSS_PIXELS), round(down * CSS_PIXELS))


def _drawn(figure: Figure, dpi: int) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
    return Image.open(buffer).convert("RGB")


def _line_art(figure: Figure) -> tuple[str, bytes]:
    """A PNG as sharp as its size allows, or a JPEG if it has more solid colours than a palette holds."""
    data = b""
    for dpi in (SHARP_DPI, PLAIN_DPI):
        image = _drawn(figure, dpi)
        indexed = with_palette(image)
        if indexed is None:
            return "image/jpeg", _jpeg(image)
        data = _png(indexed)
        if len(data) <= LARGE:
            break
    return "image/png", data


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    # Class colours lie in small areas and thin outlines: no subsampling of colour.
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def with_palette(image: Image.Image) -> Image.Image | None:
    """The same with 256 colours, those of solid areas within four levels of what they were.

    Args:
        image: RGB.

    Returns:
        An image of mode P; None where solid areas alone have too many colours.
    """
    pixels_HW3 = np.asarray(image)
    solid_HW = _solid(pixels_HW3)
    solid_colors = _cover(_by_frequency(pixels_HW3[solid_HW]))
    if solid_colors is None:
        return None
    edges = pixels_HW3[~solid_HW]
    colors_C3 = np.concatenate([solid_colors, _median_cut(edges, _COLORS - len(solid_colors))])
    indexed = Image.fromarray(_nearest(pixels_HW3, colors_C3))
    indexed.putpalette(colors_C3.astype(np.uint8).tobytes())
    return indexed


def _solid(pixels_HW3: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels have the colour of the four beside them, bool (H, W)."""
    solid_HW = np.zeros(pixels_HW3.shape[:2], dtype=np.bool_)
    right = (pixels_HW3[:, 1:] == pixels_HW3[:, :-1]).all(axis=2)
    below = (pixels_HW3[1:] == pixels_HW3[:-1]).all(axis=2)
    solid_HW[1:-1, 1:-1] = (right[1:-1, 1:] & right[1:-1, :-1]) & (below[1:, 1:-1] & below[:-1, 1:-1])
    return solid_HW


def _by_frequency(pixels_N3: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The colours, int64 (C, 3), the most frequent first."""
    colors, counts = np.unique(_packed(pixels_N3), return_counts=True)
    return _unpacked(colors[np.argsort(-counts, kind="stable")])


def _packed(pixels_N3: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each colour: rows are slow to compare."""
    packed: NDArray[np.int64] = pixels_N3.reshape(-1, 3).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    return packed


def _unpacked(colors: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1)


def _cover(colors_C3: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Some of the colours, so that each of them has one of these within the tolerance; None if that takes too many."""
    taken: list[NDArray[np.int64]] = []
    while len(colors_C3):
        if len(taken) == _SOLID_COLORS:
            return None
        taken.append(colors_C3[0])
        colors_C3 = colors_C3[np.abs(colors_C3 - colors_C3[0]).max(axis=1) > _TOLERANCE]
    return np.array(taken, dtype=np.int64).reshape(-1, 3)


def _median_cut(pixels_N3: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """So many colours, or fewer, that stand for these pixels."""
    if not len(pixels_N3):
        return np.empty((0, 3), dtype=np.int64)
    palette = Image.fromarray(pixels_N3[None]).quantize(count, method=Image.Quantize.MEDIANCUT).getpalette() or []
    return np.array(palette, dtype=np.int64).reshape(-1, 3)[:count]


def _nearest(pixels_HW3: NDArray[np.uint8], colors_C3: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Index of the nearest colour for each pixel, uint8 (H, W); Pillow's own search is out by some levels."""
    packed, places = np.unique(_packed(pixels_HW3), return_inverse=True)
    seen_U3 = _unpacked(packed)
    # |a - b|^2 less |a|^2, which all candidates share.
    distances_UC = (colors_C3**2).sum(axis=1) - 2 * (seen_U3.astype(np.float64) @ colors_C3.T.astype(np.float64))
    nearest_U = distances_UC.argmin(axis=1).astype(np.uint8)
    nearest_HW: NDArray[np.uint8] = nearest_U[places].reshape(pixels_HW3.shape[:2])
    return nearest_HW
