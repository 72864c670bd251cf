"""Every fault that an image set can have is found twice: by `data check`, with all others, and when a search starts."""

import os
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from aerosweep.cli import app
from trainable.data.checks.dataset_check import check_dataset
from trainable.data.dataset_config import DatasetConfig
from trainable.data.layouts.aeroscapes import AEROSCAPES_CLASSES
from trainable.data.trial_data import open_trial_data
from trainable.errors import InputError

TRAIN = ["a_0", "a_1", "b_0", "b_1"]
VAL = ["c_0", "c_1", "d_0", "e_0", "f_0", "g_0"]
SIZE = (24, 48)
LABELS = ((5 * (np.indices(SIZE)[0] // 2) + np.indices(SIZE)[1] // 2) % 12).astype(np.uint8)
"""Squares of 2x2: 24 objects of each of the 12 classes, none touching another of its class."""
PALETTE = np.array([entry.color for entry in AEROSCAPES_CLASSES], dtype=np.uint8)
UPRIGHT, TURNED = 1, 6


def picture(seed: int = 99) -> Image.Image:
    """Smooth and unlike others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)


def image(root: Path, id_: str = "a_0") -> Path:
    return root / f"JPEGImages/{id_}.jpg"


def mask(root: Path, id_: str = "a_0") -> Path:
    return root / f"SegmentationClass/{id_}.png"


def write_list(root: Path, name: str, ids: list[str]) -> None:
    (root / f"ImageSets/{name}.txt").write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8")


def write_ids(root: Path, id_: str = "a_0", labels: np.ndarray = LABELS) -> None:
    Image.fromarray(np.asarray(labels)).save(mask(root, id_))


def write_colors(root: Path, id_: str = "a_0", labels: np.ndarray = LABELS) -> None:
    Image.fromarray(PALETTE[labels]).save(mask(root, id_))


def write_set(root: Path, layout: str) -> DatasetConfig:
    """A sound set of two train scenes and five val scenes with all classes everywhere: nothing to say about it."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (root / folder).mkdir(parents=True)
    write_list(root, "trn", TRAIN)
    write_list(root, "val", VAL)
    for seed, id_ in enumerate([*TRAIN, *VAL]):
        picture(seed).save(image(root, id_))
        (write_colors if layout == "colors" else write_ids)(root, id_)
    if layout == "aeroscapes":
        return DatasetConfig(layout="aeroscapes", root=root, dev_share=0.5)
    described = {
        "name": "colors", "images": "JPEGImages/*.jpg", "masks": "SegmentationClass/*.png", "encoding": "rgb",
        "classes": [{"name": c.name, "color": list(c.color), "thing": c.thing} for c in AEROSCAPES_CLASSES],
        "scene_regex": "^[a-z]", "split": {"by": "list", "train": "ImageSets/trn.txt", "val": "ImageSets/val.txt"},
    }  # fmt: skip
    (root / "set.yaml").write_text(yaml.safe_dump(described))
    return DatasetConfig(layout="described", description=root / "set.yaml", dev_share=0.5)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png() -> bytes:
    """A 16-bit RGB PNG: Pillow reads such files as 8-bit RGB and cannot write them."""
    height, width = SIZE
    rows = b"".join(b"\0" + bytes(6 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def keep(path: Path, share: float) -> None:
    """Cut a file, as a download that was broken off."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def blank(path: Path) -> None:
    """Overwrite the second half of a file with zeros, as a download into a file of the full size."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def save_as(path: Path, picture: Image.Image, kind: str, **options: object) -> None:
    """Another format than the name says, as found in the wild."""
    picture.save(path, kind, **options)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone"))


def turn(path: Path, size: tuple[int, int] = SIZE, orientation: int = TURNED) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().resize(size[::-1]).save(path, exif=exif)


def animate(path: Path, frames: list[Image.Image], kind: str) -> None:
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])


def labels_with(value: int, *places: tuple[int, int]) -> np.ndarray:
    labels = LABELS.copy()
    for place in places:
        labels[place] = value
    return labels


def colors_with(color: tuple[int, int, int], *places: tuple[int, int]) -> Image.Image:
    pixels = PALETTE[LABELS]
    for place in places:
        pixels[place] = color
    return Image.fromarray(pixels)


def without(root: Path, ids: list[str], label: int) -> None:
    for id_ in ids:
        write_ids(root, id_, np.where(label == LABELS, 0, LABELS))


@dataclass(frozen=True)
class Fault:
    """A fault and what is said of it.

    Attributes:
        plant: Puts it into a sound set.
        rule: What must hold, in part.
        value: What is there instead, in part; `{root}` is the set's folder.
        remedy: What to do, in part.
        file: The file that must be named, relative to the set.
        layout: `aeroscapes`, or `colors`: the same, described, with masks of colours.
        problems: How many errors it makes.
    """

    plant: Callable[[Path], object]
    rule: str
    value: str
    remedy: str
    file: str | None = None
    layout: str = "aeroscapes"
    problems: int = 1


AN_IMAGE, A_MASK = "JPEGImages/a_0.jpg", "SegmentationClass/a_0.png"
FETCH = "Fetch or export the file again, or take its id out of the set"
RGB8 = "an image must be 8-bit RGB"
TRUE_VALUES = "each value of a mask must be a class's or ignored"
HAS_FILES = "each id of ImageSets/trn.txt must have JPEGImages/ID.jpg and SegmentationClass/ID.png"
ADD_FILE = "Add the file or take its id out of ImageSets/trn.txt"
IDS_MODE, COLORS_MODE = "a mask of ids must have one channel", "a mask of colours must be 8-bit RGB or have a palette"

ERRORS: dict[str, Fault] = {
    # Files that are not what they were
    "truncated JPEG": Fault(
        lambda root: keep(image(root), 0.9), "an image must be decodable", "image file is truncated", FETCH, AN_IMAGE
    ),
    "corrupt JPEG": Fault(
        lambda root: image(root).write_bytes(b"junk" * 50),
        "an image must be decodable", "no image format that is known", FETCH, AN_IMAGE,
    ),
    "JPEG blanked from the middle": Fault(
        lambda root: blank(image(root)), "an image must be decodable", "cannot load this image", FETCH, AN_IMAGE
    ),
    "truncated PNG image": Fault(
        lambda root: (save_as(image(root), picture(), "PNG"), keep(image(root), 0.5)),
        "an image must be decodable", "", FETCH, AN_IMAGE,
    ),
    "PNG image blanked from the middle": Fault(
        lambda root: (save_as(image(root), picture(), "PNG"), blank(image(root))),
        "an image must be decodable", "broken PNG file", FETCH, AN_IMAGE,
    ),
    "truncated PNG mask": Fault(
        lambda root: keep(mask(root), 0.7), "a mask must be decodable", "", FETCH, A_MASK
    ),
    "PNG mask with a wrong byte": Fault(
        lambda root: mask(root).write_bytes(mask(root).read_bytes()[:-20] + b"\x55" + mask(root).read_bytes()[-19:]),
        "a mask must be decodable", "broken PNG file", FETCH, A_MASK,
    ),
    "zero-byte image": Fault(
        lambda root: image(root).write_bytes(b""), "an image must be decodable", "an empty file", FETCH, AN_IMAGE
    ),
    "zero-byte mask": Fault(
        lambda root: mask(root).write_bytes(b""), "a mask must be decodable", "an empty file", FETCH, A_MASK
    ),
    # Files that are not there
    "missing image": Fault(lambda root: image(root).unlink(), HAS_FILES, "no such file", ADD_FILE, AN_IMAGE),
    "missing mask": Fault(lambda root: mask(root).unlink(), HAS_FILES, "no such file", ADD_FILE, A_MASK),
    "id without a file": Fault(
        lambda root: write_list(root, "trn", [*TRAIN, "b_7"]),
        HAS_FILES, "no such file", ADD_FILE, "JPEGImages/b_7.jpg", problems=2,
    ),
    "id too long for a file": Fault(
        lambda root: write_list(root, "trn", [*TRAIN, "b_" + 300 * "7"]),
        HAS_FILES, "file name too long", ADD_FILE, problems=2,
    ),
    "folder in the place of an image": Fault(
        lambda root: replace_by_folder(image(root)), HAS_FILES, "a folder", ADD_FILE, AN_IMAGE
    ),
    "link to nothing in the place of a mask": Fault(
        lambda root: replace_by_link_to_nothing(mask(root)), HAS_FILES, "a link to nothing", ADD_FILE, A_MASK
    ),
    "missing image of a description": Fault(
        lambda root: image(root).unlink(),
        "every mask must have its image", "no image with id 'a_0'", "Add the image, remove the mask", A_MASK,
        "colors", problems=2,
    ),
    "id of a description's list without a file": Fault(
        lambda root: write_list(root, "trn", [*TRAIN, "b_7"]),
        "each id of split.train must be one that the globs find", "'b_7'", "correct the list", "ImageSets/trn.txt",
        "colors",
    ),
    "file name that is no UTF-8": Fault(
        lambda root: [
            path.rename(path.with_name(os.fsdecode(b"x\xfc") + path.suffix))
            for path in (image(root), mask(root))
        ],
        "the name of a file must be UTF-8", r"JPEGImages/x\udcfc.jpg", "Rename it", None, "colors", problems=3,
    ),
    # Pixels that would be changed unsaid
    "grey image": Fault(
        lambda root: picture().convert("L").save(image(root)),
        RGB8, "mode L", "Convert the greyscale image to RGB (Pillow:", AN_IMAGE,
    ),
    "palette image": Fault(
        lambda root: save_as(image(root), picture().convert("P"), "PNG"),
        RGB8, "mode P", "Convert the palette image to RGB (Pillow:", AN_IMAGE,
    ),
    "image with alpha": Fault(
        lambda root: save_as(image(root), picture().convert("RGBA"), "PNG"),
        RGB8, "mode RGBA", "Drop the alpha channel", AN_IMAGE,
    ),
    "grey image with alpha": Fault(
        lambda root: save_as(image(root), picture().convert("LA"), "PNG"),
        RGB8, "mode LA", "Drop the alpha channel and convert to RGB", AN_IMAGE,
    ),
    "CMYK image": Fault(
        lambda root: picture().convert("CMYK").save(image(root)),
        RGB8, "mode CMYK", "Convert to sRGB (ImageMagick:", AN_IMAGE,
    ),
    "16-bit grey image": Fault(
        lambda root: save_as(image(root), Image.new("I;16", SIZE[::-1]), "PNG"),
        RGB8, "16 bits or more (mode I;16B)", "Scale it to 8 bits, with one range for the whole set", AN_IMAGE,
    ),
    "16-bit RGB image": Fault(
        lambda root: image(root).write_bytes(deep_png()),
        RGB8, "16 bits or more (mode RGB;16B)", "Scale it to 8 bits", AN_IMAGE,
    ),
    "16-bit PPM image": Fault(
        lambda root: image(root).write_bytes(b"P6 48 24 65535\n" + bytes(6 * 48 * 24)),
        RGB8, "PPM", "Export it as 8-bit RGB PNG or JPEG", AN_IMAGE,
    ),
    "JPEG 2000 image": Fault(
        lambda root: save_as(image(root), picture(), "JPEG2000"),
        RGB8, "JPEG2000", "Export it as 8-bit RGB PNG or JPEG", AN_IMAGE,
    ),
    "GeoTIFF image": Fault(
        lambda root: save_as(image(root), picture(), "TIFF", tiffinfo={33550: (0.5, 0.5, 0.0)}),
        f"{RGB8}, and no (Geo)TIFF", "TIFF of mode RGB", "Export three 8-bit bands as PNG or JPEG (gdal_translate",
        AN_IMAGE,
    ),
    "multispectral TIFF that Pillow does not open": Fault(
        lambda root: image(root).write_bytes(b"II*\0" + bytes(60)),
        f"{RGB8}, and no (Geo)TIFF", "TIFF of a kind that Pillow does not know", "gdal_translate", AN_IMAGE,
    ),
    "animated image": Fault(
        lambda root: animate(image(root), [picture(1), picture(2)], "PNG"),
        "an image must be a single picture", "2 frames", "Export the frames as files", AN_IMAGE,
    ),
    # Masks of another kind
    "ids out of range": Fault(
        lambda root: write_ids(root, labels=labels_with(77, (3, 5), (3, 6), (20, 0))),
        TRUE_VALUES, "id 77 (3 pixels, the first at row 3, column 5)", "Add it to the classes or to ignored", A_MASK,
    ),
    "many ids out of range": Fault(
        lambda root: write_ids(root, labels=200 + LABELS),
        TRUE_VALUES,
        "id 200 (96 pixels, the first at row 0, column 0), id 201 (96 pixels, the first at row 0, column 2), "
        "id 202 (96 pixels, the first at row 0, column 4) and 9 more",
        "or correct the mask", A_MASK,
    ),
    "16-bit ids out of range": Fault(
        lambda root: write_ids(root, labels=LABELS.astype(np.uint16) + 256),
        TRUE_VALUES, "id 256 (96 pixels, the first at row 0, column 0)", "or correct the mask", A_MASK,
    ),
    "colours not in the palette": Fault(
        lambda root: colors_with((1, 2, 255), (7, 9), (8, 1)).save(mask(root)),
        TRUE_VALUES, "colour #0102FF (2 pixels, the first at row 7, column 9)", "of a description", A_MASK, "colors",
    ),
    "one pixel of a colour not in the palette": Fault(
        lambda root: colors_with((1, 2, 255), (23, 47)).save(mask(root)),
        TRUE_VALUES, "colour #0102FF (1 pixel, at row 23, column 47)", "or correct the mask", A_MASK, "colors",
    ),
    "RGB mask where ids are declared": Fault(
        write_colors, IDS_MODE, "mode RGB", "Say encoding: rgb in a description (dataset.layout described)", A_MASK
    ),
    "mask with alpha where ids are declared": Fault(
        lambda root: Image.fromarray(LABELS).convert("LA").save(mask(root)),
        IDS_MODE, "mode LA", "one 8-bit channel", A_MASK,
    ),
    "1-bit mask": Fault(
        lambda root: Image.new("1", SIZE[::-1]).save(mask(root)), IDS_MODE, "mode 1", "one 8-bit channel", A_MASK
    ),
    "mask of ids where colours are declared": Fault(
        write_ids, COLORS_MODE, "mode L", "Say encoding: ids if its values name classes", A_MASK, "colors"
    ),
    "mask with alpha where colours are declared": Fault(
        lambda root: colors_with((0, 0, 0)).convert("RGBA").save(mask(root)),
        COLORS_MODE, "mode RGBA", "without alpha", A_MASK, "colors",
    ),
    "16-bit mask of colours": Fault(
        lambda root: mask(root).write_bytes(deep_png()), COLORS_MODE, "mode RGB;16B", "8-bit RGB", A_MASK, "colors"
    ),
    "JPEG mask": Fault(
        lambda root: save_as(mask(root), Image.fromarray(LABELS), "JPEG"),
        "a mask must be lossless (PNG or BMP)", "JPEG", "Export the masks as PNG, from their source", A_MASK,
    ),
    "TIFF mask": Fault(
        lambda root: save_as(mask(root), Image.fromarray(LABELS), "TIFF"),
        "a mask must be lossless (PNG or BMP)", "TIFF", "gdal_translate -of PNG", A_MASK,
    ),
    "animated mask": Fault(
        lambda root: animate(mask(root), [Image.fromarray(LABELS), Image.fromarray(LABELS[::-1])], "PNG"),
        "a mask must be a single picture", "2 frames", "Export the frames as files", A_MASK,
    ),
    "GIF mask": Fault(
        lambda root: animate(mask(root), [Image.fromarray(LABELS), Image.fromarray(LABELS[::-1])], "GIF"),
        "a mask must be lossless (PNG or BMP)", "GIF", "Export the masks as PNG", A_MASK,
    ),
    "sizes that differ": Fault(
        lambda root: write_ids(root, labels=LABELS[:, 1:]),
        "an image and its mask must have one size", "image 24x48, mask 24x47 (height x width)",
        "Export the mask at the image's size, with nearest-neighbour resampling", A_MASK,
    ),
    "mask of the turned image": Fault(
        lambda root: turn(image(root), SIZE[::-1]),
        "an image and its mask must have one size", "image 48x24, mask 24x48 (height x width)",
        "Turn the image's pixels upright: its EXIF orientation", A_MASK,
    ),
    # Lists and splits
    "missing list": Fault(
        lambda root: (root / "ImageSets/val.txt").unlink(),
        "an aeroscapes set must have ImageSets/trn.txt and ImageSets/val.txt", "no such file", "Write the ids",
        "ImageSets/val.txt",
    ),
    "empty list": Fault(
        lambda root: (root / "ImageSets/val.txt").write_text("\n \n"),
        "the val list must name an image", "an empty list", "Write ids there", "ImageSets/val.txt",
    ),
    "list that is no UTF-8": Fault(
        lambda root: (root / "ImageSets/val.txt").write_bytes("c_0\nzürich_1\n".encode("latin-1")),
        "a list of ids must be UTF-8 text", "byte 0xfc in line 2", "Save it as UTF-8", "ImageSets/val.txt",
    ),
    "list in UTF-16": Fault(
        lambda root: (root / "ImageSets/trn.txt").write_bytes("a_0\n".encode("utf-16")),
        "a list of ids must be UTF-8 text", "byte 0xff in line 1", "Save it as UTF-8", "ImageSets/trn.txt",
    ),
    "folder in the place of a list": Fault(
        lambda root: replace_by_folder(root / "ImageSets/trn.txt"),
        "an aeroscapes set must have ImageSets/trn.txt", "a folder", "Write the ids", "ImageSets/trn.txt",
    ),
    "list of a description that is no UTF-8": Fault(
        lambda root: (root / "ImageSets/val.txt").write_bytes(b"\xfc\n"),
        "a list of ids must be UTF-8 text", "byte 0xfc in line 1", "Save it as UTF-8", "ImageSets/val.txt",
        "colors", problems=2,
    ),
    "id twice in a list": Fault(
        lambda root: write_list(root, "val", [*VAL, "c_1"]),
        "an id must occur once in one list", "c_1 2 times (val.txt, val.txt)", "Remove its other lines",
    ),
    "id in two lists": Fault(
        lambda root: write_list(root, "val", [*VAL, "b_1"]),
        "an id must occur once in one list", "b_1 2 times (trn.txt, val.txt)", "Remove its other lines", problems=2,
    ),
    "id in two lists of a description": Fault(
        lambda root: write_list(root, "val", [*VAL, "b_1"]),
        "an id must occur once in one list", "b_1 2 times (ImageSets/trn.txt, ImageSets/val.txt)", "Remove its other",
        None, "colors", problems=2,
    ),
    "scene on both sides": Fault(
        lambda root: (write_list(root, "trn", TRAIN[:3]), write_list(root, "val", [*VAL, "b_1"])),
        "a scene must lie in one split, because its images are near copies", "scene b in train and val",
        "Move all of the scene's images to one split",
    ),
    "one image only": Fault(
        lambda root: write_list(root, "trn", ["a_0"]),
        "train must have two scenes or more for dev to be chosen from them", "1 (a)", "Give the set a dev split",
    ),
    "no folder of masks": Fault(
        lambda root: (root / "SegmentationClass").rename(root / "Masks"),
        "must have the folders JPEGImages, SegmentationClass and ImageSets", "no such folder", "Point dataset.root",
        "SegmentationClass",
    ),
    "no set": Fault(
        lambda root: root.rename(root.with_name("moved")),
        "must have the folders JPEGImages, SegmentationClass and ImageSets", "no such folder", "Correct dataset.root",
        ".",
    ),
    "a file in the place of the set": Fault(
        lambda root: (root.rename(root.with_name("moved")), root.write_text("")),
        "must have the folders JPEGImages, SegmentationClass and ImageSets", "a file", "Correct dataset.root", ".",
    ),
}  # fmt: skip

WARNINGS: dict[str, Fault] = {
    "EXIF rotation": Fault(
        lambda root: turn(image(root)),
        "an image should lie upright in its file, because its EXIF orientation is not applied", "orientation",
        "turn the pixels (Pillow: ImageOps.exif_transpose)", "a_0",
    ),
    "one image under two ids across splits": Fault(
        lambda root: image(root, "d_0").write_bytes(image(root).read_bytes()),
        "an image should not lie in two splits under two ids", "d_0 (val)", "Take it out of one of them",
    ),
    "one image without contrast under two ids across splits": Fault(
        lambda root: [Image.new("RGB", SIZE[::-1]).save(image(root, id_)) for id_ in ("b_0", "c_0", "d_0", "e_0")],
        "an image should not lie in two splits under two ids", "= c_0 (val)", "says nothing",
    ),
    "class absent from train": Fault(
        lambda root: without(root, TRAIN, 3), "car: does not occur in train and is not learned", "", ""
    ),
    "class absent everywhere": Fault(
        lambda root: without(root, [*TRAIN, *VAL], 3), "car: never occurs, so it has no score", "", ""
    ),
    "ids without a sequence": Fault(
        lambda root: [
            write_list(root, "val", [*VAL, "lone"]),
            picture().save(image(root, "lone")),
            write_ids(root, "lone"),
        ],
        "1 ids are not of the form SEQUENCE_FRAME (lone)", "", "",
    ),
}  # fmt: skip


def rename(root: Path, old: str, new: str) -> None:
    for path in (image(root, old), mask(root, old)):
        path.rename(path.with_name(f"{new}{path.suffix}"))
    for split, ids in (("trn", TRAIN), ("val", VAL)):
        write_list(root, split, [new if id_ == old else id_ for id_ in ids])


SOUND: dict[str, tuple[str, Callable[[Path], object]]] = {
    "nothing planted": ("aeroscapes", lambda root: None),
    "nothing planted, colours": ("colors", lambda root: None),
    "names with spaces and letters beyond ASCII": ("aeroscapes", lambda root: rename(root, "a_0", "a_für die 航拍")),
    "the same under a description": ("colors", lambda root: rename(root, "a_0", "a_für die 航拍")),
    "lists with a byte order mark and CRLF": (
        "aeroscapes",
        lambda root: (root / "ImageSets/trn.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(TRAIN).encode()),
    ),
    "16-bit ids": ("aeroscapes", lambda root: write_ids(root, labels=LABELS.astype(np.uint16))),
    "palette mask of colours": (
        "colors",
        lambda root: Image.fromarray(PALETTE[LABELS]).convert("P", palette=Image.Palette.ADAPTIVE).save(mask(root)),
    ),
    "EXIF that says upright": ("aeroscapes", lambda root: turn(image(root), orientation=UPRIGHT)),
    "EXIF that is junk": ("aeroscapes", lambda root: picture().save(image(root), exif=b"Exif\0\0junkjunkjunk")),
    "a drone's picture with its preview": (
        "aeroscapes",
        lambda root: animate(image(root), [picture(0), picture(0).resize((12, 6))], "MPO"),
    ),
}  # fmt: skip


def check(config: DatasetConfig) -> list:
    return check_dataset(config, Path("unused")).problems


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_listed_by_the_check(tmp_path, name):
    fault, root = ERRORS[name], tmp_path / "set"
    config = write_set(root, fault.layout)
    fault.plant(root)
    found = [problem for problem in check(config) if not problem.warning]
    assert len(found) == fault.problems, found
    (told,) = [p for p in found if fault.rule in p.rule and fault.value in p.value and fault.remedy in p.remedy][:1]
    assert fault.file is None or told.file == root / fault.file


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_stops_a_search_at_its_start(tmp_path, name):
    fault, root = ERRORS[name], tmp_path / "set"
    config = write_set(root, fault.layout)
    fault.plant(root)
    with pytest.raises(InputError) as refusal:
        open_trial_data(config, tmp_path / "cache")
    assert fault.rule in refusal.value.rule
    assert fault.value in f"{refusal.value.value}"
    assert fault.remedy in refusal.value.remedy
    assert fault.file is None or f"{root / fault.file}" in f"{refusal.value.value}"


@pytest.mark.parametrize("name", WARNINGS)
def test_a_warning_is_listed_by_the_check_and_told_at_the_start(tmp_path, name):
    fault, root = WARNINGS[name], tmp_path / "set"
    config = write_set(root, fault.layout)
    fault.plant(root)
    found = check(config)
    assert all(problem.warning for problem in found), found
    (listed,) = [p for p in found if p.rule.startswith(fault.rule)]
    (told,) = [text for text in open_trial_data(config, tmp_path / "cache").warnings if text.startswith(fault.rule)]
    for value, remedy in ((f"{listed.file} {listed.value}", listed.remedy), (told, told)):
        assert fault.value in value
        assert fault.remedy in remedy
        assert fault.file is None or fault.file in value


def test_one_image_under_two_ids_is_no_near_copy_as_well(tmp_path):
    config = write_set(tmp_path / "set", "aeroscapes")
    image(tmp_path / "set", "d_0").write_bytes(image(tmp_path / "set").read_bytes())
    assert len(check(config)) == 1


@pytest.mark.parametrize("name", SOUND)
def test_what_is_no_fault_is_none(tmp_path, name):
    layout, plant = SOUND[name]
    config = write_set(tmp_path / "set", layout)
    plant(tmp_path / "set")
    assert check(config) == []
    data = open_trial_data(config, tmp_path / "cache")
    assert data.warnings == ()
    assert data.cache.pixel_counts.tolist() == [[96] * 12] * 10


def test_an_image_of_one_pixel_works(tmp_path):
    config = write_set(tmp_path / "set", "aeroscapes")
    Image.new("RGB", (1, 1)).save(image(tmp_path / "set"))
    write_ids(tmp_path / "set", labels=LABELS[:1, :1])
    assert check(config) == []
    data = open_trial_data(config, tmp_path / "cache")
    assert data.cache.pixel_counts[0].tolist() == [1] + [0] * 11


@pytest.mark.parametrize(
    ("layout", "file", "rule"),
    [
        ("aeroscapes", "JPEGImages/a_0.jpg", "an image must be readable"),
        ("aeroscapes", "SegmentationClass/a_0.png", "a mask must be readable"),
        ("aeroscapes", "ImageSets/trn.txt", "a list of ids must be readable"),
        ("aeroscapes", "JPEGImages", "each id of ImageSets/trn.txt must have"),
        ("colors", "set.yaml", "dataset.description must be a YAML file"),
        ("colors", "JPEGImages", "all folders that the glob of the images goes through must be readable"),
    ],
)
def test_what_the_user_may_not_read_is_told(tmp_path, layout, file, rule):
    config = write_set(tmp_path / "set", layout)
    path = tmp_path / "set" / file
    mode = path.stat().st_mode
    path.chmod(0o444 if path.is_dir() else 0)  # a folder that may be listed and not entered
    if os.access(path, os.X_OK if path.is_dir() else os.R_OK):
        pytest.skip("root may read everything")
    try:
        (found, *_) = check(config)
        with pytest.raises(InputError, match=f"{rule}.*permission denied"):
            open_trial_data(config, tmp_path / "cache")
    finally:
        path.chmod(mode)
    assert found.rule.startswith(rule)
    assert found.value == "permission denied"


def plant_many(root: Path) -> list[str]:
    """Six faults, each in a sample of its own; returns what must be named."""
    write_set(root, "aeroscapes")
    keep(image(root, "a_0"), 0.5)
    image(root, "a_1").write_bytes(deep_png())
    write_ids(root, "b_0", labels_with(77, (3, 5)))
    mask(root, "b_1").write_bytes(b"")
    mask(root, "c_0").unlink()
    write_list(root, "val", [*VAL, "g_0"])
    paths = [image(root, "a_0"), image(root, "a_1"), mask(root, "b_0"), mask(root, "b_1"), mask(root, "c_0")]
    return [*map(str, paths), "g_0 2 times"]


def test_the_command_lists_all_faults_and_exits_with_1(tmp_path):
    named = plant_many(tmp_path / "set")
    overrides = ["--set", "dataset.layout=aeroscapes", "--set", f"dataset.root={tmp_path / 'set'}"]
    result = CliRunner().invoke(app, ["data", "check", *overrides])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stdout.splitlines() if line.startswith("problem: ")]
    assert len(lines) == len(named) == len([what for what in named if any(what in line for line in lines)])
    assert re.search(r"^6 problems, \d+ warnings?$", result.stdout.splitlines()[-1])


def test_a_search_that_stops_at_the_first_bad_file_says_what_lists_all(tmp_path):
    config = write_set(tmp_path / "set", "aeroscapes")
    image(tmp_path / "set").write_bytes(b"no image")
    with pytest.raises(InputError, match="`aerosweep data check` lists all"):
        open_trial_data(config, tmp_path / "cache")


def test_masks_of_ignored_pixels_only_stop_a_search(tmp_path):
    config = write_set(tmp_path / "set", "colors")
    with (tmp_path / "set" / "set.yaml").open("a") as description:
        description.write("ignored: ['#010203']\n")
    for id_ in [*TRAIN, *VAL]:
        Image.new("RGB", SIZE[::-1], "#010203").save(mask(tmp_path / "set", id_))
    with pytest.raises(InputError, match="must have a pixel that is not ignored; got 10 masks"):
        open_trial_data(config, tmp_path / "cache")


def test_a_search_refuses_the_set_before_anything_starts_or_is_written(tmp_path):
    plant_many(tmp_path / "set")
    config = {
        "name": "doomed",
        "dataset": {"layout": "aeroscapes", "root": "set"},
        "resources": {"cache_dir": "cache"},
    }
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(config))
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as short:  # as Ray's sockets need it
        done = subprocess.run(
            [sys.executable, "-m", "aerosweep", "search", "search.yaml"],
            capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
            env=environment | {"RAY_TMPDIR": short},
        )  # fmt: skip
        assert not any(Path(short).iterdir())
    assert done.returncode == 2, done.stdout + done.stderr
    assert (
        f"error: {HAS_FILES.replace('trn', 'val')}; got {mask(tmp_path / 'set', 'c_0')}: no such file." in done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "runs").exists()
