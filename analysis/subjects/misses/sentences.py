"""How two losses differ in the small objects that they miss, in words."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.subjects.misses.table import CountedNetwork, wilson_interval
from analysis.words.configuration_words import loss_title
from analysis.words.gain_words import alarms_words
from trainable.measure.image_counts import ImageCounts
from trainable.measure.object_errors import SIZE_EDGES

FEWEST_OBJECTS: Final = 20
"""Of fewer no miss rate is quoted."""

_SMALL_SIZES: Final = (64, 256, 1024)
"""What may pass for a small object, in pixels; the least that bounds enough objects does."""


def compared(losses: Sequence[str]) -> tuple[str, str] | None:
    """Which two losses a sentence is of: the best and cross entropy, or the next best; None of fewer than two.

    Args:
        losses: The best by the objective first.
    """
    if len(losses) < 2:
        return None
    return losses[0], "cross_entropy" if "cross_entropy" in losses[1:] else losses[1]


def describe_missed(networks: Sequence[CountedNetwork], full_epochs: int, split: str) -> str:
    """Say how two losses differ in small objects; empty where they are too few or their intervals meet.

    With several networks of a loss, those of its seeds, their ranges must be apart as well.

    Args:
        networks: Those of the best loss first, measured on the same objects; others than full-length ones are not
            compared.
        full_epochs: Epochs of a full-length trial.
        split: Where they were measured.
    """
    full = [network for network in networks if network.epochs >= full_epochs]
    pair = compared(list(dict.fromkeys(network.loss for network in full)))
    if pair is None:
        return ""
    sides = {loss: [network for network in full if network.loss == loss] for loss in pair}
    below = _small_size(sides[pair[0]][0].counts)
    if below is None:
        return ""
    small = {loss: _small_objects(side, below) for loss, side in sides.items()}
    return _sentence(sides, small, below, split) if _apart(*small.values()) else ""


def _small_size(counts: ImageCounts) -> int | None:
    """The least size in pixels that enough objects are below; None where there is none."""
    objects = counts.sized_objects[..., 0].sum(axis=(0, 1))
    return next((size for size in _SMALL_SIZES if objects[: SIZE_EDGES.index(size)].sum() >= FEWEST_OBJECTS), None)


def _small_objects(networks: Sequence[CountedNetwork], below: int) -> NDArray[np.int64]:
    """True and missed objects below a size, of each network, (networks, 2)."""
    bins = SIZE_EDGES.index(below)
    return np.array([n.counts.sized_objects[:, :, :bins, :2].sum(axis=(0, 1, 2)) for n in networks], dtype=np.int64)


def _apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether the ranges over seeds do not meet, and neither do the intervals of their means."""
    first, second = sorted((one, other), key=lambda side: float(side[:, 1].mean()))
    meets = first[:, 1].max() >= second[:, 1].min()
    return not meets and _interval(first)[1] < _interval(second)[0]


def _interval(side: NDArray[np.int64]) -> tuple[float, float]:
    """Of the mean over seeds, which all saw the same objects: as if there were those objects once."""
    return wilson_interval(round(float(side[:, 1].mean())), int(side[0, 0]))


def _sentence(
    sides: Mapping[str, Sequence[CountedNetwork]], small: Mapping[str, NDArray[np.int64]], below: int, split: str
) -> str:
    (best, other), objects = sides, int(next(iter(small.values()))[0, 0])
    shares = {loss: float(side[:, 1].mean()) / objects for loss, side in small.items()}
    names = {loss: f"{loss_title(loss)} ({side[0].trial_id})" for loss, side in sides.items()}
    said = {loss: f"{_percent(shares[loss])} ({_range(_interval(small[loss]))})" for loss in sides}
    alarms = {loss: float(np.mean([_alarms(network.counts) for network in side])) for loss, side in sides.items()}
    seeds = {len(side) for side in sides.values()}
    price = alarms_words(alarms[best] - alarms[other])
    means = "" if seeds == {1} else ", means over seeds"
    return (
        f"Objects under {below} pixels on {split}{means}: {names[other]} misses {said[other]} of {objects}, "
        f"{names[best]} {said[best]}; {loss_title(best)} has {price}. Objects of one image "
        "are not independent, so these 95 % intervals are too narrow."
    )


def _alarms(counts: ImageCounts) -> float:
    return float(counts.sized_objects[..., 2].sum()) / len(counts.images)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _range(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.0f} to {_percent(interval[1])}"
