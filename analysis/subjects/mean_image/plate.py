"""The plates of where in the image things lie."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.subjects.mean_image.figure import draw_average_image, draw_class_maps
from analysis.subjects.mean_image.table import (
    ThingPositions,
    average_image,
    describe_evenness,
    describe_positions,
    locate_things,
    shrink,
    tabulate_average_image,
)
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.share_words import percent
from trainable.data.image_set import ImageSet

AVERAGE: Final = "Average image of the things"
POSITIONS: Final = "Average image of each thing class"

_LARGE_MAP, _SMALL_MAP = 640, 320
"""Cells of the longer side of a map as it is drawn."""


def average_image_plate(image_set: ImageSet, statistics: MaskStatistics) -> Plate:
    """Where things lie, all classes in one map.

    Raises:
        Unavailable: The set has no thing class, or none of them occurs.
    """
    kept, names = _occurring_things(image_set, statistics)
    shares = average_image(statistics)[kept]
    positions = locate_things(statistics, [sample.scene for sample in image_set], _thing_names(image_set))
    classes = [image_set.classes[statistics.thing_labels[place]] for place in kept]
    drawn = shrink(shares, _LARGE_MAP)
    most = float(drawn.sum(axis=0).max())
    return Plate(
        key="average_image",
        title=AVERAGE,
        shows=f"All {statistics.images:,} masks laid over each other: the colour says which thing class lies at a "
        f"place of the image, its strength in what share of the images{_stretching(statistics)}.",
        says=f"At the fullest place {percent(most)} of the images have a thing. {describe_positions(positions)}"
        f"{_absent_things(image_set, names)}".replace("  ", " ").strip(),
        alt="Map of the image plane in class colours over white. At the fullest place "
        f"{percent(most)} of the images have a thing. {_list_thirds(positions)}",
        table=tabulate_average_image(shares, names),
        draw=lambda palette: draw_average_image(drawn, names, palette.floats(classes)),
        shows_classes=True,
    )


def class_maps_plate(image_set: ImageSet, statistics: MaskStatistics) -> Plate:
    """Where things lie, a map for each class on a scale of its own.

    Raises:
        Unavailable: The set has no thing class, or none of them occurs.
    """
    kept, names = _occurring_things(image_set, statistics)
    shares = average_image(statistics)[kept]
    positions = locate_things(statistics, [sample.scene for sample in image_set], _thing_names(image_set))
    images = {thing.name: thing.images for thing in positions}
    drawn = shrink(shares, _SMALL_MAP)
    peaks = [f"{name} {percent(float(share.max()))}" for name, share in zip(names, drawn, strict=True)]
    return Plate(
        key="average_image_by_class",
        title=POSITIONS,
        shows="One map for each thing class: the lighter a place of the image, the more of all images have the class "
        "there; each map has its own scale, because on a common one frequent classes hide rare "
        f"ones{_stretching(statistics)}.",
        says=f"{describe_evenness(positions)}{_absent_things(image_set, names)}".strip(),
        alt="Small maps of the image plane, one a thing class. Largest share of images at one place: "
        f"{', '.join(peaks)}.",
        table=tabulate_average_image(shares, names),
        draw=lambda palette: draw_class_maps(drawn, names, [images[name] for name in names]),
    )


def _occurring_things(image_set: ImageSet, statistics: MaskStatistics) -> tuple[list[int], list[str]]:
    """Places among the thing classes of those that occur, and their names."""
    if not statistics.thing_labels:
        raise Unavailable(
            "No average image of things: the set has no thing class. Say `thing: true` in its description for classes "
            "of countable objects."
        )
    kept = [int(place) for place in np.flatnonzero(statistics.thing_ninths.any(axis=(0, 2, 3)))]
    names = _thing_names(image_set)
    if not kept:
        raise Unavailable(f"No average image of things: none of the thing classes occurs ({', '.join(names)}).")
    return kept, [names[place] for place in kept]


def _thing_names(image_set: ImageSet) -> list[str]:
    return [image_set.classes[label].name for label in image_set.thing_labels]


def _absent_things(image_set: ImageSet, shown: Sequence[str]) -> str:
    absent = [name for name in _thing_names(image_set) if name not in shown]
    return f" Not drawn, because no mask has a pixel of it: {', '.join(absent)}." if absent else ""


def _stretching(statistics: MaskStatistics) -> str:
    height, width = statistics.grid
    if statistics.sizes_differ:
        return f"; the images differ in size and were stretched to {width} x {height}"
    return f"; the images were reduced to {width} x {height}" if statistics.resampled else ""


def _list_thirds(positions: Sequence[ThingPositions]) -> str:
    parts = [
        f"{thing.name} {', '.join(f'{share:.0%}' for share in thing.thirds)}" for thing in positions if thing.images
    ]
    return f"Share of each class's pixels in the top, middle and bottom third of the image: {'; '.join(parts)}."
