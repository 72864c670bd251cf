"""The plate of what an image set's images look like."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.subjects.class_distribution.table import shown_splits
from analysis.subjects.example_images.figure import draw_example_images
from analysis.subjects.example_images.table import Choice, choose_examples, load_example
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.share_words import percent
from trainable.data.image_set import ImageSet
from trainable.data.scene_split import SplitAssignment
from trainable.errors import InputError

EXAMPLES: Final = "Example images"


def example_images_plate(image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment) -> Plate:
    """Three images of train with their labels, chosen by a rule.

    Raises:
        Unavailable: No image of train has a labelled pixel, or one that was chosen cannot be read.
    """
    scenes = [sample.scene for sample in image_set]
    rows = shown_splits(splits)["train"]
    choices = choose_examples(statistics.pixel_counts, rows, scenes, image_set.thing_labels)
    if not choices:
        raise Unavailable("No example images: no image of train has a labelled pixel. Check the masks of the set.")
    try:
        examples = [load_example(image_set, choice) for choice in choices]
    except InputError as error:
        raise Unavailable(f"No example images: {error}") from error
    table = _tabulate_examples(image_set, statistics, choices)
    return Plate(
        key="example_images",
        title=EXAMPLES,
        shows=_describe_rule(choices, dev=bool(splits.dev), reduced=any(example.reduced > 1 for example in examples)),
        says=_describe_median(statistics, rows),
        alt=_list_examples(table),
        table=table,
        draw=lambda palette: draw_example_images(examples, image_set.classes, palette.of_classes(image_set.classes)),
        shows_classes=True,
        photographs=True,
    )


def _describe_rule(choices: Sequence[Choice], dev: bool, reduced: bool) -> str:
    noun = choices[0].counted
    which = f"{_NUMBERS[len(choices)]} of train{' (dev included)' if dev else ''}"
    rules = [
        f"the one with the most {noun}",
        "the one with the largest share of their pixels",
        "one with the median share",
    ]
    named = ", ".join(rules[: len(choices)])
    apart = ", each from another scene where there is one" if len(choices) > 1 else ""
    rest = "; reduced for drawing, so that the smallest objects may be lost" if reduced else ""
    return (
        f"{which}: as it is (Raw), its classes by colour (Label), and these over the grey image with their names "
        f"(Overlay); chosen by rule and not by hand: {named}{apart}{rest}."
    )


_NUMBERS = ("No image", "One image", "Two images", "Three images")


def _describe_median(statistics: MaskStatistics, rows: Sequence[int]) -> str:
    """How much of the median image of train is things; silent for a handful of images, or without things."""
    counts = statistics.pixel_counts[list(rows)]
    counts = counts[counts.any(axis=1)]
    if not statistics.thing_labels or len(counts) < _FEWEST_IMAGES:
        return ""
    median = float(np.median(counts[:, list(statistics.thing_labels)].sum(axis=1) / counts.sum(axis=1)))
    if median == 0:
        return f"At least half of the {len(counts):,} images of train have no thing at all."
    return f"In half of the {len(counts):,} images of train, things have at most {percent(median)} of the pixels."


_FEWEST_IMAGES = 10


def _tabulate_examples(image_set: ImageSet, statistics: MaskStatistics, choices: Sequence[Choice]) -> pd.DataFrame:
    """A row for each image and class that it shows: pixels of the file, before it was reduced."""
    rows = []
    for choice in choices:
        sample, counts = image_set.samples[choice.row], statistics.pixel_counts[choice.row]
        for label in np.flatnonzero(counts):
            entry = image_set.classes[label]
            named = {"image": sample.id, "scene": sample.scene, "rule": choice.reason, "class": entry.name}
            rows.append(
                named | {"thing": entry.thing, "pixels": counts[label], "pixel_share": counts[label] / counts.sum()}
            )
    return pd.DataFrame(rows)


def _list_examples(table: pd.DataFrame) -> str:
    parts = []
    for (image, rule), rows in table.groupby(["image", "rule"], sort=False):
        shares = zip(rows["class"], rows["pixel_share"], strict=True)
        named = ", ".join(f"{name} {percent(float(share))}" for name, share in shares)
        parts.append(f"Image {image} ({rule}): {named}.")
    return f"A row of three pictures for each image: raw, label map, overlay. {' '.join(parts)}"
