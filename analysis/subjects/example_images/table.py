"""Which images stand for an image set, chosen by a rule and not by hand, and their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.data.files.masks import decode_pair
from trainable.data.image_set import ImageSet

LONGEST_SIDE: Final = 640
"""Pixels of a drawn image; a column of three is about as wide in print."""


@dataclass(frozen=True)
class Choice:
    """An image that was chosen.

    Attributes:
        row: Of the sample.
        reason: Why, in words.
        counted: What the classes are called that the rule counts.
        classes: How many of them it shows.
        share: Share of its labelled pixels that are theirs.
    """

    row: int
    reason: str
    counted: str
    classes: int
    share: float


@dataclass(frozen=True, eq=False)
class ExampleImage:
    """An image to be drawn.

    Attributes:
        id: Of the sample.
        choice: Why it was chosen.
        pixels: RGB, uint8 (H, W, 3).
        labels: Labels, uint8 (H, W).
        reduced: How many pixels of the file one drawn pixel stands for along a side; 1 where it was not reduced.
    """

    id: str
    choice: Choice
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    reduced: float


def counted_classes(pixel_counts: NDArray[np.int64], thing_labels: Sequence[int]) -> tuple[str, tuple[int, ...]]:
    """The classes that examples are chosen by: things that occur; else all that occur but the most frequent.

    Args:
        pixel_counts: Pixels of each class in each candidate, (N, C).
        thing_labels: Labels of the thing classes.

    Returns:
        What they are called, in the plural, and their labels; all classes where only one occurs.
    """
    totals = pixel_counts.sum(axis=0)
    things = tuple(label for label in thing_labels if totals[label])
    if things:
        return "thing classes", things
    others = tuple(int(label) for label in np.flatnonzero(totals) if label != totals.argmax())
    return ("classes other than the most frequent", others) if others else ("classes", tuple(range(len(totals))))


def choose_examples(
    pixel_counts: NDArray[np.int64], rows: Sequence[int], scenes: Sequence[str], thing_labels: Sequence[int]
) -> list[Choice]:
    """Choose up to three images: many classes, many pixels, and a typical one, each of another scene if there is one.

    The first shows the most thing classes, the second has the largest share of thing pixels, the third has the median
    share (the lower of two) among the images that are left. Ties go to the larger share of thing pixels, then to the
    first row. Without things, all classes but the most frequent are counted instead.

    Args:
        pixel_counts: Pixels of each class in each sample, (samples, classes), ignored pixels left out.
        rows: The samples to choose from, with a labelled pixel or without; the latter are never chosen.
        scenes: The scene of each sample.
        thing_labels: Labels of the thing classes.
    """
    left = [row for row in rows if pixel_counts[row].any()]
    if not left:
        return []
    noun, counted = counted_classes(pixel_counts[left], thing_labels)
    of_classes = (pixel_counts[:, list(counted)] > 0).sum(axis=1)
    shares = pixel_counts[:, list(counted)].sum(axis=1) / np.maximum(1, pixel_counts.sum(axis=1))
    reasons = (f"most {noun}", f"largest share of {noun}", f"median share of {noun}")
    chosen: list[Choice] = []
    for number, reason in enumerate(reasons):
        taken = {scenes[choice.row] for choice in chosen}
        used = {choice.row for choice in chosen}
        candidates = [row for row in left if scenes[row] not in taken] or [row for row in left if row not in used]
        if candidates:
            row = _pick(number, np.array(candidates), of_classes, shares)
            chosen.append(Choice(row, reason, noun, int(of_classes[row]), float(shares[row])))
    return chosen


def _pick(number: int, rows: NDArray[np.int64], of_classes: NDArray[np.int64], shares: NDArray[np.float64]) -> int:
    """The row that one of the three rules takes."""
    if number == 2:
        order = rows[np.lexsort((rows, shares[rows]))]
        return int(order[(len(order) - 1) // 2])
    first = of_classes if number == 0 else np.zeros_like(of_classes)
    return int(rows[np.lexsort((rows, -shares[rows], -first[rows]))[0]])


def load_example(image_set: ImageSet, choice: Choice) -> ExampleImage:
    """Decode an image and its mask, reduced to what can be drawn: images by area, labels by the nearest pixel.

    Args:
        image_set: The set.
        choice: Which image.

    Raises:
        InputError: It cannot be decoded.
    """
    sample = image_set.samples[choice.row]
    image_HW3, labels_HW = decode_pair(sample, image_set.encoding)
    reduced = max(1.0, max(labels_HW.shape) / LONGEST_SIDE)
    if reduced > 1:
        size = (max(1, round(labels_HW.shape[1] / reduced)), max(1, round(labels_HW.shape[0] / reduced)))
        image_HW3 = np.asarray(Image.fromarray(image_HW3).resize(size, Image.Resampling.BOX))
        labels_HW = np.asarray(Image.fromarray(labels_HW).resize(size, Image.Resampling.NEAREST))
    return ExampleImage(sample.id, choice, image_HW3, labels_HW, reduced)
