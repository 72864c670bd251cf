"""Images that show nearly the same, found by perceptual hash: they must not lie on two sides of a split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.data.image_set import Split

SIDE: Final = 8
BITS: Final = 2 * SIDE * SIDE
"""Bits of a hash: does the grey grow to the right, and downwards, at each place of an 8x8 grid.

Both directions of the difference hash. Measured on the 72 images of Dubai, in shares of the bits: images of different
scenes differ in 32 % at the least, an image and its view shifted by 2 % of its width in 9 % at the median and 15 % at
the most. pHash of 8x8 has 25 % against 16 %, hashes of averages (aHash, wHash) 6 % against 16 and 19 %, and hashes of
16x16 have 41 % against 26 %.
"""

MOST_BITS: Final = 20
"""Images whose hashes differ in so many bits or fewer count as near copies."""

_CONTRAST: Final = 2  # grey levels of 255; a smaller difference is noise, and the bit says nothing
_FEWEST_TELLING: Final = 48  # bits that must say something in both images: two plain blue skies are no near copies
_SHRUNK: Final = 9 * SIDE  # before hashing: two small resizes cost less than two large ones
_WORDS: Final = BITS // 64
_BLOCK: Final = (128, 2048)  # hashes compared at a time: what lies between fits into a core's cache


@dataclass(frozen=True)
class ScenePair:
    """Two scenes on different sides that have near copies of each other's images.

    Attributes:
        splits: Of the two scenes.
        scenes: Their names.
        count: Pairs of images that are near copies.
        closest: The nearest pair, as sample indices.
        bits: Bits in which the closest differ.
    """

    splits: tuple[Split, Split]
    scenes: tuple[str, str]
    count: int
    closest: tuple[int, int]
    bits: int


def hash_image(image: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash an image.

    Args:
        image: RGB, height x width x 3.

    Returns:
        Four words: 128 bits of the hash, then 128 that say which of them tell something; the others are 0.
    """
    grey = Image.fromarray(image).convert("L").resize((_SHRUNK, _SHRUNK), Image.Resampling.BOX)
    bits = np.stack([imagehash.dhash(grey, SIDE).hash, imagehash.dhash_vertical(grey, SIDE).hash])
    contrast = np.stack([_contrast(grey, (SIDE + 1, SIDE), axis=1), _contrast(grey, (SIDE, SIDE + 1), axis=0)])
    telling = contrast >= _CONTRAST
    words: NDArray[np.uint64] = np.packbits(np.stack([bits & telling, telling])).view(np.uint64)
    return words


def _contrast(grey: Image.Image, size: tuple[int, int], axis: int) -> NDArray[np.int16]:
    """The differences whose signs are the bits, without their signs."""
    small = np.asarray(grey.resize(size, Image.Resampling.LANCZOS), dtype=np.int16)
    return np.abs(np.diff(small, axis=axis))


def near_pairs(
    left: NDArray[np.uint64], right: NDArray[np.uint64]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]]:
    """Find the near copies between two lists of hashes, a block of both at a time.

    Args:
        left: Hashes, (images, 4).
        right: Hashes, (images, 4).

    Yields:
        Rows of `left`, rows of `right` and the bits in which they differ, for the pairs of a block that has any.
    """
    for top in range(0, len(left), _BLOCK[0]):
        for start in range(0, len(right), _BLOCK[1]):
            rows, columns, bits = _compare(left[top : top + _BLOCK[0]], right[start : start + _BLOCK[1]])
            if len(rows):
                yield rows + top, columns + start, bits


def _compare(
    left: NDArray[np.uint64], right: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    # The first word alone leaves one pair in a hundred; only those are looked at in full.
    near = np.bitwise_count(left[:, None, 0] ^ right[None, :, 0]) <= MOST_BITS
    rows, columns = np.divmod(np.flatnonzero(near), len(right))
    one, other = left[rows], right[columns]
    differ = one[:, :_WORDS] ^ other[:, :_WORDS]
    telling = one[:, _WORDS:] & other[:, _WORDS:]
    bits, told = _count(differ), _count(telling)
    # A near copy differs as little in the bits that tell something in both.
    near = (bits <= MOST_BITS) & (told >= _FEWEST_TELLING) & (_count(differ & telling) * BITS <= told * MOST_BITS)
    return rows[near], columns[near], bits[near]


def _count(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Set bits of each row."""
    counts: NDArray[np.int64] = np.bitwise_count(words).sum(axis=1, dtype=np.int64)
    return counts


def find_scene_pairs(
    hashes: NDArray[np.uint64], splits: Mapping[Split, Sequence[int]], scenes: Sequence[str]
) -> list[ScenePair]:
    """Find scenes of different splits that show the same.

    Args:
        hashes: Of each sample, (samples, 4); zeros where there is no image.
        splits: The samples of each split.
        scenes: The scene of each sample.

    Returns:
        Pairs of scenes, those with the most near copies first; memory grows with them, not with the pairs of images.
    """
    names, scene_of = np.unique(np.asarray(scenes, dtype=str), return_inverse=True)
    found: list[ScenePair] = []
    order = list(splits)
    for place, first in enumerate(order):
        for second in order[place + 1 :]:
            found += _between((first, second), hashes, splits, names, scene_of)
    return sorted(found, key=lambda pair: (-pair.count, pair.bits, pair.scenes))


def _between(
    sides: tuple[Split, Split],
    hashes: NDArray[np.uint64],
    splits: Mapping[Split, Sequence[int]],
    names: NDArray[np.str_],
    scene_of: NDArray[np.intp],
) -> list[ScenePair]:
    left, right = (np.asarray(splits[side], dtype=np.intp) for side in sides)
    found: dict[int, ScenePair] = {}
    for rows, columns, bits in near_pairs(hashes[left], hashes[right]):
        one, other = left[rows], right[columns]
        keys, key_of, counts = np.unique(
            scene_of[one] * len(names) + scene_of[other], return_inverse=True, return_counts=True
        )
        nearest = np.lexsort((bits, key_of))[np.concatenate([[0], np.cumsum(counts)[:-1]])]
        for key, count, at in zip(keys.tolist(), counts.tolist(), nearest.tolist(), strict=True):
            pair = ScenePair(
                sides,
                (str(names[key // len(names)]), str(names[key % len(names)])),
                count,
                (int(one[at]), int(other[at])),
                int(bits[at]),
            )
            found[key] = _merge(found[key], pair) if key in found else pair
    return list(found.values())


def _merge(one: ScenePair, other: ScenePair) -> ScenePair:
    """Two blocks' parts of a pair of scenes."""
    return replace(min(one, other, key=lambda pair: pair.bits), count=one.count + other.count)
