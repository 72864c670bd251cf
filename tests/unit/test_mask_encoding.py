import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainable.errors import InputError
from trainable.image_set import IGNORED, MaskEncoding, Sample
from trainable.mask_encoding import decode_image, decode_mask, decode_pair

RED, BLUE, GREY = (200, 10, 20), (10, 20, 200), (155, 155, 155)
COLORS = MaskEncoding("rgb", colors={RED: 0, BLUE: 1, GREY: IGNORED})
IDS = MaskEncoding("ids", ids={0: 1, 3: 0, 7: IGNORED})


def save(path: Path, pixels: np.ndarray | Image.Image, **options) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return path


def write_16_bit_rgb(path: Path, height: int, width: int) -> Path:
    """Pillow reads such files as 8-bit RGB and cannot write them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(6 * width) for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def test_ids_become_labels(tmp_path):
    codes = np.array([[0, 3, 7], [3, 3, 0]], np.uint8)
    labels = decode_mask(save(tmp_path / "m.png", codes), IDS)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[1, 0, IGNORED], [0, 0, 1]]


def test_a_palette_mask_of_ids_is_read_by_its_indices(tmp_path):
    image = Image.frombytes("P", (2, 2), bytes([0, 3, 7, 0]))
    image.putpalette(list(range(255, -1, -1)) * 3)
    assert decode_mask(save(tmp_path / "m.png", image), IDS).tolist() == [[1, 0], [IGNORED, 1]]


def test_16_bit_ids_are_read_whole(tmp_path):
    encoding = MaskEncoding("ids", ids={300: 0, 44: 1, 65535: IGNORED})  # 300 & 255 is 44
    path = save(tmp_path / "m.png", np.array([[300, 44, 65535]], np.uint16))
    assert decode_mask(path, encoding).tolist() == [[0, 1, IGNORED]]


def test_colors_become_labels_whatever_the_palette(tmp_path):
    pixels = np.array([[RED, BLUE, GREY], [BLUE, BLUE, RED]], np.uint8)
    expected = [[0, 1, IGNORED], [1, 1, 0]]
    assert decode_mask(save(tmp_path / "rgb.png", pixels), COLORS).tolist() == expected
    for name, palette in (("a", [BLUE, RED, GREY]), ("b", [GREY, BLUE, RED])):
        indices = [palette.index(tuple(pixel)) for pixel in pixels.reshape(-1, 3).tolist()]
        image = Image.frombytes("P", (3, 2), bytes(indices))
        image.putpalette([part for color in palette for part in color])
        assert decode_mask(save(tmp_path / f"{name}.png", image), COLORS).tolist() == expected


def test_all_255_labels_are_told_from_unknown_and_ignored(tmp_path):
    encoding = MaskEncoding("ids", ids={code: code for code in range(255)} | {255: IGNORED})
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(decode_mask(save(tmp_path / "m.png", codes), encoding), codes)


def test_unknown_ids_are_named_with_counts_most_frequent_first(tmp_path):
    codes = np.array([[9, 8, 8], [0, 5, 6]], np.uint8)
    path = save(tmp_path / "m.png", codes)
    with pytest.raises(InputError) as refusal:
        decode_mask(path, IDS)
    assert f"got {path}: id 8 (2 pixels), id 5 (1 pixel), id 6 (1 pixel) and 1 more." in str(refusal.value)
    assert "Add it to the classes or to ignored" in refusal.value.remedy


def test_unknown_colors_are_named_as_hex(tmp_path):
    pixels = np.array([[RED, (1, 2, 255)]], np.uint8)
    with pytest.raises(InputError, match=re.escape("colour #0102FF (1 pixel)")):
        decode_mask(save(tmp_path / "m.png", pixels), COLORS)


@pytest.mark.parametrize(
    ("name", "mode", "encoding", "message"),
    [
        ("m.png", "RGB", IDS, "one channel of 8 or 16 bits (mode L, P or I;16); got {}: mode RGB. Say encoding: rgb"),
        ("m.png", "1", IDS, "mode 1"),
        ("m.png", "L", COLORS, "8-bit RGB or have a palette (mode RGB or P); got {}: mode L. Say encoding: ids"),
        ("m.png", "RGBA", COLORS, "mode RGBA"),
        ("m.jpg", "L", IDS, "a mask must be lossless (PNG or BMP); got {}: JPEG"),
    ],
)
def test_masks_of_another_mode_or_lossy_are_refused(tmp_path, name, mode, encoding, message):
    path = save(tmp_path / name, Image.new(mode, (3, 2)))
    with pytest.raises(InputError) as refusal:
        decode_mask(path, encoding)
    assert message.format(path) in str(refusal.value)


def test_an_image_is_decoded_to_rgb(tmp_path):
    pixels = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    decoded = decode_image(save(tmp_path / "i.png", pixels))
    assert decoded.shape == (2, 5, 3)
    assert np.array_equal(decoded, pixels)
    assert decoded.flags.writeable


@pytest.mark.parametrize(
    ("mode", "name", "remedy"),
    [
        ("L", "i.png", "Convert the greyscale image to RGB"),
        ("P", "i.png", "Convert the palette image to RGB"),
        ("RGBA", "i.png", "Drop the alpha channel"),
        ("LA", "i.png", "Drop the alpha channel and convert"),
        ("CMYK", "i.jpg", "Convert to sRGB"),
        ("I;16", "i.png", "Scale it to 8 bits"),
        ("RGB", "i.tif", "Export three 8-bit bands as PNG or JPEG (gdal_translate"),
    ],
)
def test_images_that_are_not_8_bit_rgb_are_refused_with_a_remedy(tmp_path, mode, name, remedy):
    path = save(tmp_path / name, Image.new(mode, (3, 2)))
    with pytest.raises(InputError, match="an image must be 8-bit RGB") as refusal:
        decode_image(path)
    assert remedy in refusal.value.remedy
    assert str(path) in str(refusal.value)


def test_16_bit_rgb_is_refused_rather_than_truncated(tmp_path):
    path = write_16_bit_rgb(tmp_path / "i.png", 2, 3)
    with Image.open(path) as image:
        assert image.mode == "RGB"
    with pytest.raises(InputError, match=re.escape("16 bits or more (mode RGB;16B)")):
        decode_image(path)
    with pytest.raises(InputError, match="mode RGB;16B"):
        decode_mask(path, COLORS)


@pytest.mark.parametrize(("decode", "what"), [(decode_image, "an image"), (lambda p: decode_mask(p, IDS), "a mask")])
def test_missing_and_undecodable_files(tmp_path, decode, what):
    with pytest.raises(InputError, match=f"{what} must be a file; got .*gone.png: no such file"):
        decode(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match=f"{what} must be decodable; got .*text.png"):
        decode(tmp_path / "text.png")


def test_truncated_files_are_found(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for path, decode in (
        (save(tmp_path / "i.jpg", noise), decode_image),
        (save(tmp_path / "m.png", noise), lambda p: decode_mask(p, COLORS)),
        (save(tmp_path / "n.png", noise[..., 0]), lambda p: decode_mask(p, IDS)),
    ):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(InputError, match="must be decodable"):
            decode(path)


def test_a_pair_of_unequal_sizes_is_reported_with_both(tmp_path):
    image = save(tmp_path / "i.png", np.zeros((4, 6, 3), np.uint8))
    sample = Sample("a", image, save(tmp_path / "m.png", np.zeros((4, 5), np.uint8)), "a", "train")
    with pytest.raises(InputError, match=r"image 4x6, mask 4x5 \(height x width\). Export the mask"):
        decode_pair(sample, IDS)
    turned = Sample("a", image, save(tmp_path / "m.png", np.zeros((6, 4), np.uint8)), "a", "train")
    with pytest.raises(InputError, match=r"image 4x6, mask 6x4.*EXIF orientation"):
        decode_pair(turned, IDS)
    fitting = Sample("a", image, save(tmp_path / "m.png", np.zeros((4, 6), np.uint8)), "a", "train")
    pixels, labels = decode_pair(fitting, IDS)
    assert pixels.shape == (4, 6, 3)
    assert labels.tolist() == [[1] * 6] * 4
