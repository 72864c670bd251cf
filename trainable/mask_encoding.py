"""Image and mask files decoded to arrays; whatever could silently change a label or a pixel is refused."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainable.dataset_problem import Problem, ProblemError, name_some, os_fault, path_fault
from trainable.image_set import MaskEncoding, Sample

IMAGE_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "WEBP")  # of others (PPM, JPEG 2000) Pillow drops bits beyond 8 unsaid
MASK_FORMATS = ("PNG", "BMP")  # lossless, and Pillow keeps their indices as they are
UNDECODABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises on broken files
MASK_RULE = f"a mask must be lossless ({' or '.join(MASK_FORMATS)})"
IMAGE_RULE = "an image must be 8-bit RGB"
REPLACE_REMEDY = "Fetch or export the file again, or take its id out of the set"

IMAGE_REMEDIES: dict[str, str] = {
    "L": "Convert the greyscale image to RGB (Pillow: image.convert('RGB'))",
    "P": "Convert the palette image to RGB (Pillow: image.convert('RGB'))",
    "RGBA": "Drop the alpha channel (Pillow: image.convert('RGB'); ImageMagick: convert IN -alpha off OUT)",
    "LA": "Drop the alpha channel and convert to RGB (Pillow: image.convert('RGB'))",
    "CMYK": "Convert to sRGB (ImageMagick: convert IN -colorspace sRGB OUT)",
}
DEEP_REMEDY = (
    "Scale it to 8 bits, with one range for the whole set (gdal_translate -ot Byte -scale LOW HIGH 0 255 IN OUT)"
)
EXIF_ORIENTATION = 0x0112
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
MASK_TIFF_REMEDY = "Convert it, values unchanged (gdal_translate -of PNG IN.tif OUT.png), and point the masks there"
TIFF_REMEDY = (
    "Export three 8-bit bands as PNG or JPEG (gdal_translate -of PNG -ot Byte -b 1 -b 2 -b 3 -scale IN.tif OUT.png) "
    "and point the image set there"
)


def decode_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image.

    Args:
        path: A file of 8-bit RGB pixels, in one of `IMAGE_FORMATS`.

    Returns:
        Height x width x 3.

    Raises:
        InputError: When it cannot be decoded or is not 8-bit RGB.
    """
    with _open(path, "an image") as image:
        problem = _image_problem(path, image) or _frames(path, "an image", image)
        if problem is not None:
            raise ProblemError(problem)
        return _pixels(path, "an image", image)


def _open(path: Path, what: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()  # its checksums, which decoding skips: a hole in the file would be black pixels
        return Image.open(path)
    except UNDECODABLE as error:
        raise ProblemError(_undecodable(path, what, error)) from error


def _undecodable(path: Path, what: str, error: Exception) -> Problem:
    fault = path_fault(path)
    if fault is not None:
        return Problem(path, f"{what} must be a file", fault, REPLACE_REMEDY)
    if isinstance(error, OSError) and error.errno is not None:
        return Problem(path, f"{what} must be readable", os_fault(error), "Give yourself the right to read it")
    if isinstance(error, Image.DecompressionBombError):
        rule = f"{what} must be of a size that Pillow decodes"
        return Problem(path, rule, f"{error}", "Cut image and mask into tiles")
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(path, what)
    return Problem(path, f"{what} must be decodable", f"{error}", REPLACE_REMEDY)


def _unidentified(path: Path, what: str) -> Problem:
    """Tell apart what Pillow opens in no format: nothing, a TIFF of many bands, anything else."""
    with path.open("rb") as file:
        start = file.read(4)
    if start in TIFF_SIGNATURES:
        return _tiff(path, what, "TIFF of a kind that Pillow does not know")
    value = "no image format that is known" if start else "an empty file"
    return Problem(path, f"{what} must be decodable", value, REPLACE_REMEDY)


def _tiff(path: Path, what: str, value: str) -> Problem:
    if what == "a mask":
        return Problem(path, MASK_RULE, value, MASK_TIFF_REMEDY)
    return Problem(path, f"{IMAGE_RULE}, and no (Geo)TIFF", value, TIFF_REMEDY)


def _frames(path: Path, what: str, image: Image.Image) -> Problem | None:
    """Refuse animations; the second picture of an MPO, as drones' cameras write it, is a preview of the first."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return None
    value = f"{getattr(image, 'n_frames', 'several')} frames"
    return Problem(path, f"{what} must be a single picture", value, "Export the frames as files, each with an id")


def _pixels(path: Path, what: str, image: Image.Image) -> NDArray[np.uint8]:
    """Decode; a truncated file is only found here, because opening reads the header alone."""
    try:
        return np.array(image)
    except UNDECODABLE as error:
        raise ProblemError(_undecodable(path, what, error)) from error


def _raw_mode(image: Image.Image) -> str:
    """The mode of the pixels in the file: Pillow's own mode hides 16-bit RGB and 2- or 4-bit grey."""
    tiles = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _image_problem(path: Path, image: Image.Image) -> Problem | None:
    rule = IMAGE_RULE
    if image.format == "TIFF":
        return _tiff(path, "an image", f"TIFF of mode {image.mode}")
    if image.format not in IMAGE_FORMATS:
        remedy = "Export it as 8-bit RGB PNG or JPEG"
        return Problem(path, f"{rule}, in a format that keeps to it (JPEG, PNG)", f"{image.format}", remedy)
    if ";16" in _raw_mode(image) or image.mode in ("I", "F", "I;16", "I;16B"):
        return Problem(path, rule, f"16 bits or more (mode {_raw_mode(image) or image.mode})", DEEP_REMEDY)
    if image.mode != "RGB":
        remedy = IMAGE_REMEDIES.get(image.mode, "Convert it to 8-bit RGB (Pillow: image.convert('RGB'))")
        return Problem(path, rule, f"mode {image.mode}", remedy)
    return None


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
    with _open(path, "a mask") as image:
        problem = _mask_problem(path, image, encoding) or _frames(path, "a mask", image)
        if problem is not None:
            raise ProblemError(problem)
        if encoding.kind == "ids":
            codes: NDArray[np.unsignedinteger] = _pixels(path, "a mask", image)
            table = _id_table(tuple(encoding.ids.items()))
        else:
            codes = _packed_colors(path, image)
            table = _color_table(tuple(encoding.colors.items()))
    labels: NDArray[np.uint16] = np.take(table, codes)  # half the time of table[codes]
    if not labels.all():
        raise ProblemError(_unknown_values(path, encoding, codes, labels == 0))
    return (labels - 1).astype(np.uint8)


def _mask_problem(path: Path, image: Image.Image, encoding: MaskEncoding) -> Problem | None:
    raw_mode = _raw_mode(image)
    if image.format not in MASK_FORMATS:
        if image.format == "TIFF":
            return _tiff(path, "a mask", "TIFF")
        remedy = "Export the masks as PNG, from their source: one that was once a JPEG has blurred labels"
        return Problem(path, MASK_RULE, f"{image.format}", remedy)
    if encoding.kind == "ids" and (image.mode not in ("L", "P", "I;16") or raw_mode in ("L;2", "L;4")):
        rule = "a mask of ids must have one channel of 8 or 16 bits (mode L, P or I;16)"
        remedy = (
            "Say encoding: rgb in a description (dataset.layout described) if its colours name classes, "
            "else export it with one 8-bit channel"
        )
        return Problem(path, rule, f"mode {raw_mode or image.mode}", remedy)
    if encoding.kind == "rgb" and (image.mode not in ("RGB", "P") or ";16" in raw_mode):
        rule = "a mask of colours must be 8-bit RGB or have a palette (mode RGB or P)"
        remedy = "Say encoding: ids if its values name classes, else export it as 8-bit RGB without alpha"
        return Problem(path, rule, f"mode {raw_mode or image.mode}", remedy)
    return None


def _packed_colors(path: Path, image: Image.Image) -> NDArray[np.uint32]:
    """Each pixel's colour as 0xRRGGBB."""
    try:
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except UNDECODABLE as error:
        raise ProblemError(_undecodable(path, "a mask", error)) from error
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


def orientation_problem(path: Path) -> Problem | None:
    """Look whether viewers (and labelling tools) turn an image, which is read as its pixels lie.

    Args:
        path: An image.

    Returns:
        A warning, or None, also where it cannot be opened: that is told by whoever decodes it.
    """
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    except UNDECODABLE:
        return None
    if orientation == 1:
        return None
    rule = "an image should lie upright in its file, because its EXIF orientation is not applied"
    remedy = "Unless the mask was drawn on the unturned image, turn the pixels (Pillow: ImageOps.exif_transpose)"
    return Problem(path, rule, f"orientation {orientation}", remedy, warning=True)
