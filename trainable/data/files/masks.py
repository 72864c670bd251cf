"""Mask files decoded to labels, and paired with their images; whatever could silently change a label is refused."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.data.dataset_problem import Problem, ProblemError, name_some
from trainable.data.files.pictures import (
    MASK_FORMATS,
    MASK_RULE,
    UNDECODABLE,
    animation_problem,
    decode_image,
    open_picture,
    pixels_of,
    raw_mode,
    tiff_problem,
    undecodable,
)
from trainable.data.image_set import MaskEncoding, Sample


def decode_mask(path: Path, encoding: MaskEncoding) -> NDArray[np.uint8]:
    """Decode a mask to labels.

    Args:
        path: A PNG (or BMP): one channel of ids, or colours.
        encoding: What its pixels mean.

    Returns:
        Height x width; a label is a class's index, or IGNORED.

    Raises:
        InputError: When it cannot be decoded, has another mode than the encoding says, or has a value that is neither a
            class's nor ignored.
    """
    with open_picture(path, "a mask") as image:
        problem = _mask_problem(path, image, encoding) or animation_problem(path, "a mask", image)
        if problem is not None:
            raise ProblemError(problem)
        if encoding.kind == "ids":
            codes: NDArray[np.unsignedinteger] = pixels_of(path, "a mask", image)
            table = _id_table(tuple(encoding.ids.items()))
        else:
            codes = _packed_colors(path, image)
            table = _color_table(tuple(encoding.colors.items()))
    labels: NDArray[np.uint16] = np.take(table, codes)  # half the time of table[codes]
    if not labels.all():
        raise ProblemError(_unknown_values(path, encoding, codes, labels == 0))
    return (labels - 1).astype(np.uint8)


def _mask_problem(path: Path, image: Image.Image, encoding: MaskEncoding) -> Problem | None:
    mode_in_file = raw_mode(image)
    if image.format not in MASK_FORMATS:
        if image.format == "TIFF":
            return tiff_problem(path, "a mask", "TIFF")
        remedy = "Export the masks as PNG, from their source: one that was once a JPEG has blurred labels"
        return Problem(path, MASK_RULE, f"{image.format}", remedy)
    if encoding.kind == "ids" and (image.mode not in ("L", "P", "I;16") or mode_in_file in ("L;2", "L;4")):
        rule = "a mask of ids must have one channel of 8 or 16 bits (mode L, P or I;16)"
        remedy = (
            "Say encoding: rgb in a description (dataset.layout described) if its colours name classes, "
            "else export it with one 8-bit channel"
        )
        return Problem(path, rule, f"mode {mode_in_file or image.mode}", remedy)
    if encoding.kind == "rgb" and (image.mode not in ("RGB", "P") or ";16" in mode_in_file):
        rule = "a mask of colours must be 8-bit RGB or have a palette (mode RGB or P)"
        remedy = "Say encoding: ids if its values name classes, else export it as 8-bit RGB without alpha"
        return Problem(path, rule, f"mode {mode_in_file or image.mode}", remedy)
    return None


def _packed_colors(path: Path, image: Image.Image) -> NDArray[np.uint32]:
    """Each pixel's colour as 0xRRGGBB."""
    try:
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except UNDECODABLE as error:
        raise ProblemError(undecodable(path, "a mask", error)) from error
    packed = pixels[..., 0].astype(np.uint32)
    for channel in (1, 2):
        packed <<= 8
        packed |= pixels[..., channel]
    return packed


@lru_cache(maxsize=8)
def _id_table(labels: tuple[tuple[int, int], ...]) -> NDArray[np.uint16]:
    """Table from file id to label + 1; 0 is an unknown id, because all of 0..255 can be labels."""
    table = np.zeros(2**16, dtype=np.uint16)
    for code, label in labels:
        table[code] = label + 1
    return table


@lru_cache(maxsize=4)
def _color_table(labels: tuple[tuple[tuple[int, int, int], int], ...]) -> NDArray[np.uint16]:
    """Table from 0xRRGGBB to label + 1; zeros, so that only the pages of colours in use ever take memory."""
    table = np.zeros(2**24, dtype=np.uint16)
    for (red, green, blue), label in labels:
        table[red << 16 | green << 8 | blue] = label + 1
    return table


def _unknown_values(
    path: Path, encoding: MaskEncoding, codes: NDArray[np.unsignedinteger], unknown: NDArray[np.bool_]
) -> Problem:
    """Say which values of a mask mean nothing, the most frequent first, and where each begins."""
    values, firsts, counts = np.unique(codes[unknown], return_index=True, return_counts=True)
    rows, columns = (axis[firsts] for axis in np.nonzero(unknown))
    form = "id {}" if encoding.kind == "ids" else "colour #{:06X}"
    named = [
        f"{form.format(int(values[i]))} ({_count_pixels(int(counts[i]))} row {rows[i]}, column {columns[i]})"
        for i in np.argsort(-counts, kind="stable")
    ]
    rule = "each value of a mask must be a class's or ignored"
    remedy = "Add it to the classes or to ignored of a description (dataset.layout described), or correct the mask"
    return Problem(path, rule, name_some(named), remedy)


def _count_pixels(count: int) -> str:
    return "1 pixel, at" if count == 1 else f"{count} pixels, the first at"


def decode_pair(sample: Sample, encoding: MaskEncoding) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode a sample's image and mask.

    Args:
        sample: The two files.
        encoding: What the mask's pixels mean.

    Returns:
        The image, height x width x 3, and the labels, height x width.

    Raises:
        InputError: When one cannot be decoded, or their sizes differ.
    """
    image, labels = decode_image(sample.image), decode_mask(sample.mask, encoding)
    problem = size_problem(sample, image.shape[:2], labels.shape)
    if problem is not None:
        raise ProblemError(problem)
    return image, labels


def size_problem(sample: Sample, image_size: tuple[int, ...], mask_size: tuple[int, ...]) -> Problem | None:
    """Compare the sizes of an image and its mask.

    Args:
        sample: The two files.
        image_size: Height and width of the image.
        mask_size: Height and width of the mask.

    Returns:
        The problem with both sizes, or None.
    """
    if image_size == mask_size:
        return None
    (image_height, image_width), (mask_height, mask_width) = image_size, mask_size
    remedy = "Export the mask at the image's size, with nearest-neighbour resampling"
    if image_size == mask_size[::-1]:
        remedy = "Turn the image's pixels upright: its EXIF orientation, which the mask follows, is not applied"
    value = f"image {image_height}x{image_width}, mask {mask_height}x{mask_width} (height x width)"
    return Problem(sample.mask, "an image and its mask must have one size", value, remedy)
