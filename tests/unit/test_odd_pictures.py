"""Pictures that are fine though their files are odd: nothing but our own words reaches the user."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from waiting import PATIENCE

from trainable.data.files.masks import decode_mask
from trainable.data.files.pictures import MOST_PIXELS, decode_image, open_picture
from trainable.data.image_set import MaskEncoding
from trainable.errors import InputError

SIZE = (24, 48)
COLORS = ((0, 0, 0), (200, 10, 20), (10, 20, 200))
LABELS = (np.indices(SIZE).sum(axis=0) // 3 % 3).astype(np.uint8)


def picture(seed):
    """Smooth and unlike others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def insert(path: Path, place: int, data: bytes) -> None:
    """Put bytes into a file."""
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + data + whole[place:])


def with_cut_exif(path: Path) -> None:
    """A camera's EXIF data that an editor cut: the maker's name is said to lie behind their end."""
    entries = struct.pack("<HHII", 0x010F, 2, 40, 4000) + struct.pack("<HHII", 0x0112, 3, 1, 1)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    picture(0).save(path, "JPEG", exif=exif)


def with_lost_preview(path: Path) -> None:
    """A drone's MPO whose list of previews was emptied by the program that resized it."""
    picture(1).save(path, "JPEG")
    segment = b"MPF\0II*\0" + struct.pack("<IHI", 8, 0, 0)
    insert(path, 2, b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment)


def with_empty_animation(path: Path) -> None:
    """A PNG with the header of an animation of no frames, as an exporter of animations writes single pictures."""
    picture(2).save(path)
    insert(path, 33, chunk(b"acTL", bytes(8)))


def with_transparent_colors(path: Path) -> None:
    """A mask of colours with a palette, in which the background is transparent, to be laid over its image."""
    image = Image.fromarray(LABELS)
    image.putpalette([value for color in COLORS for value in color])
    image.save(path, transparency=bytes([0, 128, 128]))


ODD_IMAGES = {"a_0": with_cut_exif, "b_0": with_lost_preview, "c_0": with_empty_animation}
REMARKS = {
    with_cut_exif: "Tag data larger than file", with_lost_preview: "malformed MPO",
    with_empty_animation: "Invalid APNG", with_transparent_colors: "Palette images with Transparency",
}  # fmt: skip


@pytest.mark.parametrize("odd", REMARKS)
def test_pillow_remarks_on_each_of_them(odd, tmp_path):
    """What the next test would be worth nothing without."""
    path = tmp_path / "odd.png"
    odd(path)
    with pytest.warns(UserWarning, match=REMARKS[odd]):
        Image.open(path).convert("RGB").getexif()


def write_odd_set(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for id_, write in (ODD_IMAGES | {"d_0": picture(3).save}).items():
        write(root / "images" / f"{id_}.png")
        with_transparent_colors(root / "masks" / f"{id_}.png")
    description = {
        "name": "odd", "images": "images/*.png", "masks": "masks/*.png", "encoding": "rgb", "scene_regex": "^[a-z]",
        "classes": [{"name": f"class {label}", "color": list(color)} for label, color in enumerate(COLORS)],
        "split": {"by": "scene", "train": ["a", "b"], "val": ["c", "d"]},
    }  # fmt: skip
    (root / "set.yaml").write_text(yaml.safe_dump(description))


@pytest.mark.parametrize("command", ["check", "stats"])
def test_commands_on_odd_pictures_say_nothing_but_their_own(command, tmp_path):
    write_odd_set(tmp_path / "set")
    words = [sys.executable, "-m", "aerosweep", "data", command, "--description", str(tmp_path / "set" / "set.yaml")]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "MPLBACKEND": "agg"}
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stderr, done.stderr


def png_of(path: Path, height: int, width: int) -> Path:
    """A PNG of one colour, by its header alone: nothing decodes it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def test_a_large_picture_is_opened_without_a_word(tmp_path):
    """Pillow warns of more than 89 million pixels; warnings are errors here."""
    path = png_of(tmp_path / "large.png", 12_000, 15_000)
    with open_picture(path, "an image") as image:
        assert image.width * image.height == MOST_PIXELS


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # as we do, where pytest does not interfere
@pytest.mark.parametrize(
    ("size", "value"),
    [((12_000, 15_001), r"12000x15001 \(height x width\)"), ((30_000, 30_000), "more than 360 million")],
)
def test_a_picture_that_is_too_large_is_refused_by_our_own_rule(size, value, tmp_path):
    path = png_of(tmp_path / "huge.png", *size)
    rule = rf"must have at most 180 million pixels; got .*{value}.*Cut image and mask into tiles"
    with pytest.raises(InputError, match="an image " + rule):
        decode_image(path)
    with pytest.raises(InputError, match="a mask " + rule):
        decode_mask(path, MaskEncoding("ids", ids={0: 0}))
