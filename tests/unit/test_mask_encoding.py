from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainable.data.files.masks import decode_mask
from trainable.data.files.pictures import decode_image
from trainable.data.image_set import IGNORED, MaskEncoding
from trainable.errors import InputError

RED, BLUE, GREY = (200, 10, 20), (10, 20, 200), (155, 155, 155)
COLORS = MaskEncoding("rgb", colors={RED: 0, BLUE: 1, GREY: IGNORED})
IDS = MaskEncoding("ids", ids={0: 1, 3: 0, 7: IGNORED})


def save(path: Path, pixels: np.ndarray | Image.Image, **options) -> Path:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
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
    assert refusal.value.value == (
        f"{path}: id 8 (2 pixels, the first at row 0, column 1), id 5 (1 pixel, at row 1, column 1), "
        "id 6 (1 pixel, at row 1, column 2) and 1 more"
    )


def test_an_image_is_decoded_to_rgb(tmp_path):
    pixels = np.arange(2 * 5 * 3, dtype=np.uint8).reshape(2, 5, 3)
    decoded = decode_image(save(tmp_path / "i.png", pixels))
    assert decoded.shape == (2, 5, 3)
    assert np.array_equal(decoded, pixels)
    assert decoded.flags.writeable


@pytest.mark.parametrize(("decode", "what"), [(decode_image, "an image"), (lambda p: decode_mask(p, IDS), "a mask")])
def test_missing_and_undecodable_files(tmp_path, decode, what):
    with pytest.raises(InputError, match=f"{what} must be a file; got .*gone.png: no such file"):
        decode(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(InputError, match=f"{what} must be decodable; got .*text.png"):
        decode(tmp_path / "text.png")
