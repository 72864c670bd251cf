"""Which objects networks miss, by class and by size, and where their false alarms are.

True and missed objects are counted by the size of the true one, false alarms by that of the predicted one; what a
missed object and a false alarm is, says `trainable.measure.object_errors`. Objects below the least size of the trials'
config are neither.

The interval of a miss rate is Wilson's (1927, Probable inference, the law of succession, and statistical inference)
with objects as independent. Those of one image are not, so it is too narrow: a guard, and no claim about other images.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from trainable.measure.image_counts import ImageCounts
from trainable.measure.object_errors import SIZE_EDGES

MISSED_COLUMNS: Final = [
    "loss", "trial_id", "run_id", "seeds", "epochs", "by", "group", "objects", "missed", "miss_rate", "low", "high",
    "false_alarms", "images", "false_alarms_per_image", "false_alarms_low", "false_alarms_high",
]  # fmt: skip

ALL_THINGS: Final = "all things"

_CONFIDENCE: Final = 0.95


@dataclass(frozen=True, eq=False, kw_only=True)
class CountedNetwork:
    """What one network counted.

    Attributes:
        loss: That it was trained with.
        trial_id: The trial of the search, or the one that it confirms.
        run_id: Of MLflow.
        epochs: That it trained.
        counts: On each image of a split.
    """

    loss: str
    trial_id: str
    run_id: str
    epochs: int
    counts: ImageCounts


def wilson_interval(hits: int, trials: int, confidence: float = _CONFIDENCE) -> tuple[float, float]:
    """Compute Wilson's score interval of a share; NaN of no trials.

    Args:
        hits: In 0..trials.
        trials: At least 0.
        confidence: In 0..1.
    """
    if not trials:
        return math.nan, math.nan
    z = float(norm.ppf((1 + confidence) / 2))
    share = hits / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def same_objects(one: ImageCounts, other: ImageCounts) -> bool:
    """Whether two networks were measured on the same images and true objects."""
    alike = one.class_names == other.class_names and one.images == other.images
    return alike and bool(np.array_equal(one.sized_objects[..., 0], other.sized_objects[..., 0]))


def size_titles(min_pixels: int) -> list[tuple[int, str]]:
    """The bins of size that objects can be in, in pixels: `4-15`, ..., `>= 16384`.

    Args:
        min_pixels: Smaller objects are none; a bin that it cuts begins there.

    Returns:
        Number of the bin in `SIZE_EDGES`, and what it is called.
    """
    ends = [*(edge - 1 for edge in SIZE_EDGES[1:]), None]
    titles = []
    for number, (low, high) in enumerate(zip(SIZE_EDGES, ends, strict=True)):
        if high is None:
            titles.append((number, f"\N{GREATER-THAN OR EQUAL TO} {max(low, min_pixels)}"))
        elif high >= min_pixels:
            titles.append((number, f"{max(low, min_pixels)}-{high}"))
    return titles


def tabulate_missed(networks: Sequence[CountedNetwork], min_pixels: int) -> pd.DataFrame:
    """Tabulate objects, misses and false alarms of each network: of all things, by class and by size.

    Args:
        networks: Measured on the same objects (see `same_objects`).
        min_pixels: Smaller objects are none.

    Returns:
        Columns `MISSED_COLUMNS`, networks in order, each with the groups in order, without the largest sizes that
        nothing has. by: all, class or size (pixels, all things pooled); miss_rate: missed of objects, NaN where there
        are none; low, high: Wilson's 95 %; the ends of false alarms: the value itself, as one network has no spread.
    """
    rows = [
        [network.loss, network.trial_id, network.run_id, 1, network.epochs, *cells]
        for network in networks
        for cells in _cells(network.counts, min_pixels)
    ]
    return _without_empty_tail(pd.DataFrame(rows, columns=MISSED_COLUMNS))


def _without_empty_tail(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out the largest sizes of which no network has an object or a false alarm: they would be empty rows."""
    sizes = frame[frame["by"] == "size"]
    counted = sizes.groupby("group", sort=False)[["objects", "false_alarms"]].sum().sum(axis=1)
    used = np.flatnonzero(counted.to_numpy())
    tail = counted.index[used[-1] + 1 if len(used) else 1 :]
    return frame[~((frame["by"] == "size") & frame["group"].isin(tail))].reset_index(drop=True)


def _cells(counts: ImageCounts, min_pixels: int) -> Iterator[list[object]]:
    """By, group and all that follows, of each group."""
    things = np.flatnonzero(counts.things)
    sums: NDArray[np.int64] = counts.sized_objects[:, things].sum(axis=0)  # (things, B, 3)
    images = len(counts.images)
    yield ["all", ALL_THINGS, *_measured(sums.sum(axis=(0, 1)), images)]
    for place, label in enumerate(things):
        yield ["class", counts.class_names[label], *_measured(sums[place].sum(axis=0), images)]
    for number, title in size_titles(min_pixels):
        yield ["size", title, *_measured(sums[:, number].sum(axis=0), images)]


def _measured(sums: NDArray[np.int64], images: int) -> list[object]:
    objects, missed, alarms = sums.tolist()
    rate = missed / objects if objects else math.nan
    per_image = alarms / images if images else math.nan
    interval = wilson_interval(missed, objects)
    return [objects, missed, rate, *interval, alarms, images, per_image, per_image, per_image]


def average_over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Average the networks of one configuration.

    Args:
        frame: As of `tabulate_missed`, where networks of a trial are those of its seeds.

    Returns:
        The same columns. seeds: how many; run_id: of all seeds, semicolon-joined; missed, miss_rate, false_alarms
        and false_alarms_per_image: means; low, high and the ends of false alarms: the least and the greatest seed.
    """
    keys = ["loss", "trial_id", "by", "group"]
    seeds = frame.groupby(keys, sort=False)
    mean = seeds[["missed", "miss_rate", "false_alarms", "false_alarms_per_image"]].mean()
    ends = pd.DataFrame({
        "low": seeds["miss_rate"].min(),
        "high": seeds["miss_rate"].max(),
        "false_alarms_low": seeds["false_alarms_per_image"].min(),
        "false_alarms_high": seeds["false_alarms_per_image"].max(),
        "run_id": seeds["run_id"].agg(";".join),
        "seeds": seeds.size(),
    })  # fmt: skip
    shared = seeds[["epochs", "objects", "images"]].first()
    return pd.concat([mean, ends, shared], axis=1).reset_index()[MISSED_COLUMNS]
