"""Picture files opened and decoded; whatever could silently change a pixel is refused."""

import warnings
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainable.data.dataset_problem import Problem, ProblemError, os_fault, path_fault

IMAGE_FORMATS = ("JPEG", "MPO", "PNG", "BMP", "WEBP")  # of others (PPM, JPEG 2000) Pillow drops bits beyond 8 unsaid
MASK_FORMATS = ("PNG", "BMP")  # lossless, and Pillow keeps their indices as they are
UNDECODABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises on broken files
MOST_PIXELS: Final = 180_000_000
"""Of an image: it is decoded as a whole, on each core, and takes half a gigabyte at this size."""
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

# Pillow warns of large pictures which we take, and refuses at twice its limit.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# It remarks on damaged EXIF data, on a preview that is missing, on transparent colours, though the pixels are whole:
# where they are not, it raises.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def decode_image(path: Path) -> NDArray[np.uint8]:
    """Decode an image.

    Args:
        path: A file of 8-bit RGB pixels, in one of `IMAGE_FORMATS`.

    Returns:
        Height x width x 3.

    Raises:
        InputError: When it cannot be decoded or is not 8-bit RGB.
    """
    with open_picture(path, "an image") as image:
        problem = _image_problem(path, image) or animation_problem(path, "an image", image)
        if problem is not None:
            raise ProblemError(problem)
        return pixels_of(path, "an image", image)


def open_picture(path: Path, what: str) -> Image.Image:
    """Open a file; nothing is decoded yet.

    Args:
        path: The file.
        what: `an image` or `a mask`, for the error.

    Raises:
        ProblemError: It cannot be opened, or is too large.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            fits = width * height <= MOST_PIXELS
            if fits and image.format == "PNG":
                image.verify()  # its checksums, which decoding skips: a hole in the file would be black pixels
        if fits:
            return Image.open(path)
    except UNDECODABLE as error:
        raise ProblemError(undecodable(path, what, error)) from error
    raise ProblemError(_too_large(path, what, f"{height}x{width} (height x width)"))


def _too_large(path: Path, what: str, size: str) -> Problem:
    rule = f"{what} must have at most {MOST_PIXELS // 10**6} million pixels"
    return Problem(path, rule, size, "Cut image and mask into tiles")


def undecodable(path: Path, what: str, error: Exception) -> Problem:
    """Say why a file cannot be opened or decoded, from what Pillow or the system raised."""
    fault = path_fault(path)
    if fault is not None:
        return Problem(path, f"{what} must be a file", fault, REPLACE_REMEDY)
    if isinstance(error, OSError) and error.errno is not None:
        return Problem(path, f"{what} must be readable", os_fault(error), "Give yourself the right to read it")
    if isinstance(error, Image.DecompressionBombError):
        return _too_large(path, what, f"more than {2 * MOST_PIXELS // 10**6} million")
    if isinstance(error, UnidentifiedImageError):
        return _unidentified(path, what)
    return Problem(path, f"{what} must be decodable", f"{error}", REPLACE_REMEDY)


def _unidentified(path: Path, what: str) -> Problem:
    """Tell apart what Pillow opens in no format: nothing, a TIFF of many bands, anything else."""
    with path.open("rb") as file:
        start = file.read(4)
    if start in TIFF_SIGNATURES:
        return tiff_problem(path, what, "TIFF of a kind that Pillow does not know")
    value = "no image format that is known" if start else "an empty file"
    return Problem(path, f"{what} must be decodable", value, REPLACE_REMEDY)


def tiff_problem(path: Path, what: str, value: str) -> Problem:
    """Say what to do with a TIFF."""
    if what == "a mask":
        return Problem(path, MASK_RULE, value, MASK_TIFF_REMEDY)
    return Problem(path, f"{IMAGE_RULE}, and no (Geo)TIFF", value, TIFF_REMEDY)


def animation_problem(path: Path, what: str, image: Image.Image) -> Problem | None:
    """Refuse animations; the second picture of an MPO, as drones' cameras write it, is a preview of the first."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return None
    value = f"{getattr(image, 'n_frames', 'several')} frames"
    return Problem(path, f"{what} must be a single picture", value, "Export the frames as files, each with an id")


def pixels_of(path: Path, what: str, image: Image.Image) -> NDArray[np.uint8]:
    """Decode; a truncated file is only found here, because opening reads the header alone."""
    try:
        return np.array(image)
    except UNDECODABLE as error:
        raise ProblemError(undecodable(path, what, error)) from error


def raw_mode(image: Image.Image) -> str:
    """The mode of the pixels in the file: Pillow's own mode hides 16-bit RGB and 2- or 4-bit grey."""
    tiles = getattr(image, "tile", ())
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _image_problem(path: Path, image: Image.Image) -> Problem | None:
    rule = IMAGE_RULE
    if image.format == "TIFF":
        return tiff_problem(path, "an image", f"TIFF of mode {image.mode}")
    if image.format not in IMAGE_FORMATS:
        remedy = "Export it as 8-bit RGB PNG or JPEG"
        return Problem(path, f"{rule}, in a format that keeps to it (JPEG, PNG)", f"{image.format}", remedy)
    if ";16" in raw_mode(image) or image.mode in ("I", "F", "I;16", "I;16B"):
        return Problem(path, rule, f"16 bits or more (mode {raw_mode(image) or image.mode})", DEEP_REMEDY)
    if image.mode != "RGB":
        remedy = IMAGE_REMEDIES.get(image.mode, "Convert it to 8-bit RGB (Pillow: image.convert('RGB'))")
        return Problem(path, rule, f"mode {image.mode}", remedy)
    return None


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
