"""Where in the image the things lie: the average image, and how far it is from telling anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.evidence.scene_bootstrap import DRAWS, expanded_tail
from analysis.words.number_words import listed
from analysis.words.share_words import percent
from trainable.data.checks.split_contents import MIN_SCENES

THIRDS: Final = ("top", "middle", "bottom")
EVEN_SCENES: Final = 10
"""Scenes of a class below which nothing is said of how evenly it lies: few scenes are uneven by chance."""

_NAMED: Final = 4
"""Classes that a sentence names; more are counted."""

ROWS, COLUMNS = 9, 16
"""Cells of the table of positions."""


@dataclass(frozen=True)
class ThingPositions:
    """Where the pixels of a thing class lie, by height in the image.

    Attributes:
        name: Of the class.
        images: Images that have it.
        scenes: Scenes that have it.
        thirds: Share of its pixels in the top, middle and bottom third of the image, summing to 1; NaN if it is absent.
        distance: Share of its pixels, in 0..8/9, that lie elsewhere than if the nine ninths of the image had the same:
            the total variation distance from uniform, which few scenes make large by chance. NaN if it is absent.
        fullest: Place of the fullest third.
        low: Lower end of an interval over scenes of the share of the fullest third, at 95 % for all thirds of all
            classes together (Bonferroni); NaN with fewer than `MIN_SCENES`.
        supported: Whether that is over a third, so that other scenes would probably say the same.
    """

    name: str
    images: int
    scenes: int
    thirds: tuple[float, float, float]
    distance: float
    fullest: int
    low: float
    supported: bool


def average_image(statistics: MaskStatistics) -> NDArray[np.float32]:
    """Share of images in which each position is each thing class, (T, H, W), in 0..1; ignored pixels count as none."""
    shares: NDArray[np.float32] = statistics.presence / np.float32(statistics.images)
    return shares


def shrink(shares_THW: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Average square blocks of cells, so that no side is longer than so many; a rest at the far edges is dropped.

    Args:
        shares_THW: Shares by thing class and position.
        most: Cells of the longer side.
    """
    classes, *sides = shares_THW.shape
    step = -(-max(sides) // most)
    (height, rows), (width, columns) = ((max(1, side // step), min(step, side)) for side in sides)
    kept = shares_THW[:, : height * rows, : width * columns]
    shrunk: NDArray[np.float32] = kept.reshape(classes, height, rows, width, columns).mean(axis=(2, 4))
    return shrunk


def tabulate_average_image(shares_THW: NDArray[np.float32], names: Sequence[str]) -> pd.DataFrame:
    """The average image in coarse cells.

    Args:
        shares_THW: Share of images by thing class and position.
        names: Of the thing classes.

    Returns:
        A row for each class and cell of `ROWS` x `COLUMNS` (fewer where the image has fewer): class, row and column
        from 0 at the top left, share: mean over the cell.
    """
    rows, columns = (min(most, side) for most, side in zip((ROWS, COLUMNS), shares_THW.shape[1:], strict=True))
    coarse = _mean_of_parts(_mean_of_parts(shares_THW, rows, 1), columns, 2)
    index = pd.MultiIndex.from_product([names, range(rows), range(columns)], names=["class", "row", "column"])
    return pd.DataFrame({"share": coarse.ravel()}, index=index).reset_index()


def _mean_of_parts(values: NDArray[np.float32], parts: int, axis: int) -> NDArray[np.float32]:
    pieces = np.array_split(values, parts, axis=axis)
    return np.stack([piece.mean(axis=axis) for piece in pieces], axis=axis)


def locate_things(statistics: MaskStatistics, scenes: Sequence[str], names: Sequence[str]) -> list[ThingPositions]:
    """Say where each thing class lies.

    Args:
        statistics: Of all masks.
        scenes: The scene of each image.
        names: Of the thing classes, (T,).
    """
    _, scene_of = np.unique(np.asarray(scenes, dtype=str), return_inverse=True)
    by_scene = np.zeros((int(scene_of.max()) + 1, len(names), 3, 3))
    np.add.at(by_scene, scene_of, statistics.thing_ninths)
    images = (statistics.thing_ninths.sum(axis=(2, 3)) > 0).sum(axis=0)
    level = 1 - 0.05 / (3 * max(1, len(names)))
    return [_locate(name, int(images[thing]), by_scene[:, thing], level) for thing, name in enumerate(names)]


def _locate(name: str, images: int, ninths_S33: NDArray[np.float64], level: float) -> ThingPositions:
    total = ninths_S33.sum()
    having = ninths_S33.sum(axis=(1, 2)) > 0
    if not total:
        return ThingPositions(name, 0, 0, (np.nan,) * 3, np.nan, 0, np.nan, supported=False)
    thirds = ninths_S33.sum(axis=(0, 2)) / total
    distance = 0.5 * float(np.abs(ninths_S33.sum(axis=0) / total - 1 / 9).sum())
    fullest = int(thirds.argmax())
    low = _lower_end(ninths_S33[having].sum(axis=2), fullest, level)
    top, middle, bottom = thirds.tolist()
    return ThingPositions(name, images, int(having.sum()), (top, middle, bottom), distance, fullest, low, low > 1 / 3)


def _lower_end(thirds_S3: NDArray[np.float64], third: int, level: float) -> float:
    """Lower end of the percentile interval over scenes of a third's share; NaN with too few scenes."""
    scenes, weights = len(thirds_S3), thirds_S3.sum(axis=1)
    if scenes < MIN_SCENES:
        return float("nan")
    drawn = np.random.default_rng(0).multinomial(scenes, np.full(scenes, 1 / scenes), DRAWS) @ thirds_S3
    effective = float(weights.sum() ** 2 / (weights**2).sum())  # Kish 1965
    return float(np.quantile(drawn[:, third] / drawn.sum(axis=1), expanded_tail(effective, level)))


def describe_positions(positions: Sequence[ThingPositions]) -> str:
    """Say in which third of the image things lie, as far as the scenes support it; empty where all have too few.

    Args:
        positions: Of `locate_things`.
    """
    judged = [thing for thing in positions if thing.scenes >= MIN_SCENES]
    sentences = [_describe_third(thing) for thing in judged if thing.supported]
    silent = [thing.name for thing in judged if not thing.supported]
    if silent:
        whose = listed(silent) if len(silent) <= _NAMED else f"{len(silent)}{' other' * bool(sentences)} thing classes"
        sentences.append(f"For {whose}, no third of the height is fuller than differences between scenes explain.")
    return " ".join(sentences)


def describe_evenness(positions: Sequence[ThingPositions]) -> str:
    """Say how far the least evenly spread class is from even; empty where none has the scenes for it.

    Args:
        positions: Of `locate_things`.
    """
    judged = [thing for thing in positions if thing.scenes >= EVEN_SCENES]
    if not judged:
        return ""
    farthest = max(judged, key=lambda thing: thing.distance)
    return (
        f"Of the classes in {EVEN_SCENES} scenes or more, {farthest.name} is the least evenly spread: "
        f"{percent(farthest.distance)} of its pixels would have to move for each ninth of the image (3 x 3) to have as "
        "many."
    )


def _describe_third(thing: ThingPositions) -> str:
    return (
        f"Of {thing.name}, {percent(thing.thirds[thing.fullest])} of the pixels lie in the {THIRDS[thing.fullest]} "
        f"third of the image ({thing.scenes} scenes)."
    )
