"""Near copies: found when recompressed, shrunk or moved a little, and not seen in other scenes or in plain images."""

import io

import numpy as np
import pytest
from PIL import Image

from trainable.data.checks.near_duplicates import BITS, MOST_BITS, find_scene_pairs, hash_image, near_pairs

HEIGHT, WIDTH = 180, 320


def ground(seed):
    """Smooth ground, larger than a frame."""
    random = np.random.default_rng(seed)
    coarse, fine = (random.integers(0, 256, (side, side, 3), dtype=np.uint8) for side in (14, 60))
    layers = [Image.fromarray(layer).resize((400, 240), Image.Resampling.BICUBIC) for layer in (coarse, fine)]
    return Image.blend(*layers, 0.4)


def frame(seed, right=0, down=0):
    return ground(seed).crop((right, down, right + WIDTH, down + HEIGHT))


def hashed(*images):
    return np.stack([hash_image(np.asarray(image)) for image in images])


def differ(one, other):
    """The bits that differ, counted one by one."""
    return sum(bin(int(a) ^ int(b)).count("1") for a, b in zip(one[:2], other[:2], strict=True))


def recompressed(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file).convert("RGB")


def found(one, other):
    return [pair for rows, columns, _ in near_pairs(one, other) for pair in np.stack([rows, columns], 1).tolist()]


@pytest.mark.parametrize(
    "copy",
    [
        recompressed(frame(1)),
        frame(1).resize((WIDTH // 2, HEIGHT // 2)),
        frame(1, right=5),
        frame(1, right=4, down=2),
        frame(1).point(lambda value: value // 2 + 20),
    ],
    ids=["recompressed", "half the size", "moved", "moved aslant", "half the contrast"],
)
def test_a_copy_is_found_among_other_scenes(copy):
    others = [frame(seed) for seed in range(10, 20)]
    assert found(hashed(frame(1), *others), hashed(frame(2), copy, frame(3))) == [[0, 1]]


def test_different_scenes_are_far_apart():
    hashes = hashed(*(frame(seed) for seed in range(60)))
    distances = [differ(hashes[i], hashes[j]) for i in range(60) for j in range(i)]
    assert min(distances) > MOST_BITS + 8
    assert 0.45 * BITS < np.mean(distances) < 0.55 * BITS


def test_plain_images_are_no_copies_of_each_other():
    """Water, sky, no data: their hashes are alike and say nothing."""
    plain = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("black", "navy", "white")]
    assert found(hashed(*plain), hashed(*plain)) == []


def test_a_common_margin_of_no_data_does_not_make_copies():
    pictures = []
    for seed in range(30):
        image = frame(seed)
        image.paste("black", (0, 0, WIDTH, HEIGHT // 2))
        pictures.append(image)
    hashes = hashed(*pictures)
    assert found(hashes[:15], hashes[15:]) == []
    assert found(hashes[:1], hashed(recompressed(pictures[0]))) == [[0, 0]]


def test_blocks_are_compared_in_full():
    """Against every pair compared alone, over more than a block on both sides."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (4600, 4), dtype=np.uint64)
    hashes[:, 2:] = 2**64 - 1
    left, right = hashes[:400].copy(), hashes[400:].copy()
    planted = {(0, 0): 0, (127, 2047): 20, (128, 2048): 20, (399, 4199): 7, (200, 3000): 21}
    for (row, column), bits in planted.items():
        right[column] = left[row]
        for bit in random.permutation(BITS)[:bits].tolist():
            right[column, bit // 64] ^= np.uint64(1 << (bit % 64))
    pairs = {
        (int(row), int(column)): int(bits)
        for rows, columns, counts in near_pairs(left, right)
        for row, column, bits in zip(rows, columns, counts, strict=True)
    }
    assert pairs == {place: bits for place, bits in planted.items() if bits <= MOST_BITS}


def test_pairs_are_gathered_by_scene_and_never_from_one_split():
    hashes = hashed(frame(1), frame(1, right=3), frame(2), frame(1, right=4), frame(2), frame(2, right=2), frame(1))
    scenes = ["a", "a", "b", "c", "d", "d", "e"]
    pairs = find_scene_pairs(hashes, {"train": [0, 1, 2], "dev": [3], "val": [4, 5]}, scenes)
    assert [(pair.splits, pair.scenes, pair.count, pair.closest) for pair in pairs] == [
        (("train", "val"), ("b", "d"), 2, (2, 4)),
        (("train", "dev"), ("a", "c"), 2, (1, 3)),
    ]
    assert pairs[0].bits == 0
    assert pairs[1].bits == differ(hashes[1], hashes[3])


def test_the_closest_of_a_pair_of_scenes_is_found_across_blocks():
    far, near = frame(1, right=4), recompressed(frame(1))
    images = [frame(1), far, *(frame(100 + seed) for seed in range(3))]
    hashes = hashed(*images, near)
    many = np.concatenate([hashes[:2], np.repeat(hashes[2:5], 800, axis=0), hashes[5:]])
    scenes = ["a", *["b"] * (len(many) - 1)]
    (pair,) = find_scene_pairs(many, {"train": [0], "dev": [], "val": range(1, len(many))}, scenes)
    assert (pair.count, pair.closest) == (2, (0, len(many) - 1))


def test_an_image_that_could_not_be_decoded_is_a_copy_of_none():
    nothing = np.zeros((3, 4), np.uint64)
    assert find_scene_pairs(nothing, {"train": [0], "dev": [1], "val": [2]}, ["a", "b", "c"]) == []
