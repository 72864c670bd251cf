"""How far a metric would move on other scenes: a bootstrap over scenes.

Images of one scene are near copies, and few scenes hold most images; so scenes are drawn, not images. Every network of
a comparison sees the same draws.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from scipy import special

from analysis.evidence.scene_scores import Metric, SceneCounts, scene_totals, shared_scenes
from trainable.data.checks.split_contents import MIN_SCENES
from trainable.measure.class_sums import ClassSums, Floats

DRAWS: Final = 2000

_REMEMBERED: Final = 64
"""Networks whose drawn sums are kept: about 100 KB a class each."""


def bootstrap_scores(networks: Sequence[SceneCounts], metric: Metric, *, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Compute each network's metric on the same drawn scenes.

    Args:
        networks: What each counted, on the same scenes.
        metric: The metric.
        draws: How often as many scenes as there are are drawn, with replacement.
        seed: Of the draws; they depend on it and on the number of scenes alone.

    Returns:
        (networks, draws), float64; NaN where the metric is undefined on the scenes drawn.
    """
    return np.stack([metric.of_totals(_drawn(network, draws, seed)) for network in networks])


def leave_one_out_scores(networks: Sequence[SceneCounts], metric: Metric) -> Floats:
    """Compute each network's metric without each scene, (networks, S); NaN where it is undefined then."""
    return np.stack([metric.of_totals(_without_one(network)) for network in networks])


@lru_cache(maxsize=_REMEMBERED)
def _drawn(network: SceneCounts, draws: int, seed: int) -> ClassSums:
    """The sums of drawn scenes, remembered: a comparison asks for them by dozens of metrics."""
    scenes = len(network.names)
    generator = np.random.default_rng(seed)
    return scene_totals(network, generator.multinomial(scenes, np.full(scenes, 1 / scenes), draws).astype(np.float64))


@lru_cache(maxsize=_REMEMBERED)
def _without_one(network: SceneCounts) -> ClassSums:
    return scene_totals(network, 1 - np.eye(len(network.names)))


def effective_scenes(networks: Sequence[SceneCounts], metric: Metric) -> float:
    """How many equal scenes those of the metric are worth: 1 / sum of squared shares (Kish 1965); the least network's.

    The networks differ for `worst_class_iou` alone, whose worst class may be another in each.
    """
    shares = [metric.scene_shares(network) for network in networks]
    return min(1 / float((share**2).sum()) if share.any() else 0.0 for share in shares)


def scenes_that_count(networks: Sequence[SceneCounts], metric: Metric) -> int:
    """How many scenes have what the metric measures."""
    return min(int((metric.scene_shares(network) > 0).sum()) for network in networks)


def why_no_interval(networks: Sequence[SceneCounts], metric: Metric) -> str | None:
    """Say why these scenes allow no interval, and what it takes; None where they allow one."""
    if any(math.isnan(metric.on_all(network)) for network in networks):
        return f"{metric.name} is undefined for a network: what it measures never occurs, or is never predicted."
    scenes, total = scenes_that_count(networks, metric), len(networks[0].names)
    if scenes < MIN_SCENES:
        rest = "" if scenes == total else f" {total} scenes were evaluated, but the others tell nothing of it."
        have = "1 does" if scenes == 1 else f"{scenes} do"
        return f"It takes {MIN_SCENES} scenes that have what {metric.name} measures; {have}.{rest}"
    if np.isnan(leave_one_out_scores(networks, metric)).any():
        return f"It takes {metric.name} in more than one scene; without one of them it is undefined for a network."
    return None


@dataclass(frozen=True)
class MeanInterval:
    """A configuration's metric: its mean over seeds, and what other scenes would do to it.

    Attributes:
        metric: Its name.
        value: Mean over seeds of the metric on all scenes; NaN where it is undefined for one.
        low: Lower end of the interval over scenes, for these seeds' networks; NaN without an interval.
        high: Upper end.
        level: Of the interval, 0.95.
        seeds: Networks.
        seed_sd: Standard deviation over seeds; NaN with one seed.
        scenes: Scenes that have what the metric measures.
        why_none: Why there is no interval; None where there is one.
    """

    metric: str
    value: float
    low: float
    high: float
    level: float
    seeds: int
    seed_sd: float
    scenes: int
    why_none: str | None


def interval_of_mean(
    networks: Sequence[SceneCounts], metric: Metric, *, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> MeanInterval:
    """Average a configuration's metric over its seeds, with a percentile interval over scenes.

    The percentiles are Hesterberg's (2015), wider than the level's to make up for few scenes; scenes of unequal weight
    count as `effective_scenes`.

    Args:
        networks: What each seed's network counted, on the same images.
        metric: The metric.
        level: Of the interval.
        draws: Bootstrap draws.
        seed: Of the draws.

    Raises:
        ValueError: If the networks were evaluated on different images.
    """
    kept = shared_scenes(networks)
    values = np.array([metric.on_all(network) for network in kept])
    why_none = why_no_interval(kept, metric)
    low = high = float("nan")
    if why_none is None:
        means = bootstrap_scores(kept, metric, draws=draws, seed=seed).mean(axis=0)
        tail = expanded_tail(effective_scenes(kept, metric), level)
        low, high = np.quantile(means[~np.isnan(means)], [tail, 1 - tail]).tolist()
    return MeanInterval(
        metric=metric.name,
        value=float(values.mean()),
        low=low,
        high=high,
        level=level,
        seeds=len(kept),
        seed_sd=float(values.std(ddof=1)) if len(kept) > 1 else float("nan"),
        scenes=scenes_that_count(kept, metric),
        why_none=why_none,
    )


def expanded_tail(scenes: float, level: float) -> float:
    """The lower percentile, as a share, that makes a percentile interval of few scenes wide enough.

    Hesterberg (2015), What teachers should know about the bootstrap: Phi(-sqrt(S / (S - 1)) t), t the
    Student quantile at S - 1 degrees of freedom. Fewer than two scenes are taken as two.
    """
    scenes = max(scenes, 2.0)
    t = float(special.stdtrit(scenes - 1, (1 + level) / 2))
    return float(special.ndtr(-math.sqrt(scenes / (scenes - 1)) * t))
