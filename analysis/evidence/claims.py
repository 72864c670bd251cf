"""Whether one configuration beats another on the same scenes, by how much, and what it would take to tell.

The difference D is the candidate's mean over seeds less the reference's. Other scenes and other seeds would change it:

- `v_scene`, of paired scenes: the larger of the bootstrap's variance of D, times S / (S - 1), and the jackknife's. The
  bootstrap alone is too sure where a class of a mean lies in one scene: a third of the draws lack it, the others agree.
- `v_seed` = s_c^2 / n_c + s_r^2 / n_r, of the networks' metrics on all scenes. Seeds are not paired: three pairs would
  leave two degrees of freedom.

The interval is D +- t sqrt(v_scene + v_seed), t at Welch-Satterthwaite degrees of freedom: of seeds n - 1, of scenes
`effective_scenes` - 1, which is S - 1 where scenes weigh the same and less where few hold most. What seeds and scenes
do together is counted in both variances, which errs on the careful side (cf. Owen 2007, The pigeonhole bootstrap).
`benchmarks/claims_calibration.py` measures how often a claim is supported where nothing is real.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from scipy import special

from analysis.evidence.scene_bootstrap import (
    DRAWS,
    bootstrap_scores,
    effective_scenes,
    leave_one_out_scores,
    scenes_that_count,
    why_no_interval,
)
from analysis.evidence.scene_scores import Metric, SceneCounts, shared_scenes
from trainable.measure.class_sums import Floats

MIN_SEEDS: Final = 2
"""Seeds that each side needs, for the spread over seeds to be known."""

MOST: Final = 50
"""The most seeds, and times the scenes, that are proposed as what it would take."""

_ROUNDING: Final = 1e-12
"""Standard errors up to here are rounding: nothing varied."""


class Verdict(StrEnum):
    """What the evidence says of a candidate against a reference."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    CANNOT_BE_TOLD = "cannot be told"


@dataclass(frozen=True, eq=False)
class Configuration:
    """A configuration that was trained with some seeds.

    Attributes:
        name: What it is called.
        networks: What the network of each seed counted, at least one.
    """

    name: str
    networks: Sequence[SceneCounts]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One candidate against one reference by one metric, on the scenes that all their networks share.

    Attributes:
        metric: Its name.
        minimised: Whether lower is better.
        candidate: Name.
        reference: Name.
        value_candidate: Mean over its seeds; NaN where the metric is undefined for one.
        value_reference: Likewise.
        difference: Candidate less reference, in the metric's own direction.
        low: Lower end of the interval of the difference; NaN without an interval.
        high: Upper end.
        level: Of the interval.
        seeds: Of the candidate and of the reference.
        scenes: Scenes that have what the metric measures.
        effective_scenes: How many equal scenes those are worth.
        seed_share: Share of the variance that is due to seeds; NaN without an interval, and where nothing varied.
        verdict: What the evidence says.
        why: In short sentences, with what it would take where it cannot be told.
    """

    metric: str
    minimised: bool
    candidate: str
    reference: str
    value_candidate: float
    value_reference: float
    difference: float
    low: float = math.nan
    high: float = math.nan
    level: float
    seeds: tuple[int, int]
    scenes: int
    effective_scenes: float
    seed_share: float = math.nan
    verdict: Verdict
    why: str

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval is on the worse side of 0."""
        return self.low > 0 if self.minimised else self.high < 0


@dataclass(frozen=True)
class DifferenceError:
    """What the error of a difference is made of, and what it would be with more seeds or scenes.

    Attributes:
        scene_variance: Variance of the difference over scenes.
        effective_scenes: How many equal scenes it was estimated from.
        seed_variances: Variance over seeds of the candidate's metric, and of the reference's.
        seeds: Of each.
    """

    scene_variance: float
    effective_scenes: float
    seed_variances: tuple[float, float]
    seeds: tuple[int, int]

    @property
    def seed_variance(self) -> float:
        """Variance of the difference over seeds."""
        return sum(variance / n for variance, n in zip(self.seed_variances, self.seeds, strict=True))

    @property
    def standard_error(self) -> float:
        """Of the difference."""
        return math.sqrt(self.scene_variance + self.seed_variance)

    def half_width(self, level: float) -> float:
        """Half the interval's width: Student's quantile at Welch-Satterthwaite degrees of freedom."""
        parts = [(self.scene_variance, max(self.effective_scenes - 1, 1.0))]
        parts += [(variance / n, n - 1.0) for variance, n in zip(self.seed_variances, self.seeds, strict=True)]
        total = sum(variance for variance, _ in parts)
        if total == 0:
            return 0.0
        freedom = 1 / sum((variance / total) ** 2 / df for variance, df in parts)
        return float(special.stdtrit(freedom, (1 + level) / 2)) * math.sqrt(total)

    def with_seeds(self, n: int) -> "DifferenceError":
        """The error expected of n seeds each."""
        return replace(self, seeds=(n, n))

    def with_scenes(self, times: int) -> "DifferenceError":
        """The error expected of so many times the scenes."""
        return replace(self, scene_variance=self.scene_variance / times, effective_scenes=self.effective_scenes * times)


def compare(
    candidate: Configuration,
    reference: Configuration,
    metric: Metric,
    *,
    relevant_gain: float = 0.01,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> Claim:
    """Judge whether a candidate beats a reference.

    Args:
        candidate: What is claimed to be better.
        reference: What it is compared with.
        metric: By what.
        relevant_gain: The least gain that would matter, in the metric's unit, above 0.
        level: Of the interval.
        draws: Bootstrap draws of the scenes.
        seed: Of the draws.

    Raises:
        ValueError: If a network is missing, a scene's images differ between networks, or the gain is not above 0.
    """
    if not relevant_gain > 0:
        raise ValueError(f"the relevant gain must be above 0; got {relevant_gain}. Give the least that would matter.")
    seeds = len(candidate.networks), len(reference.networks)
    if not all(seeds):
        raise ValueError(f"each side must have a network; got {seeds[0]} and {seeds[1]}. Confirm both configurations.")
    networks = shared_scenes([*candidate.networks, *reference.networks])
    values = np.array([metric.on_all(network) for network in networks])
    means = values[: seeds[0]].mean(), values[seeds[0] :].mean()
    claim = Claim(
        metric=metric.name,
        minimised=metric.minimised,
        candidate=candidate.name,
        reference=reference.name,
        value_candidate=float(means[0]),
        value_reference=float(means[1]),
        difference=float(means[0] - means[1]),
        level=level,
        seeds=seeds,
        scenes=scenes_that_count(networks, metric),
        effective_scenes=effective_scenes(networks, metric),
        verdict=Verdict.CANNOT_BE_TOLD,
        why=_what_is_missing(networks, metric, seeds),
    )
    if claim.why:
        return claim
    error = DifferenceError(
        scene_variance=_scene_variance(networks, seeds[0], metric, draws, seed),
        effective_scenes=claim.effective_scenes,
        seed_variances=(float(values[: seeds[0]].var(ddof=1)), float(values[seeds[0] :].var(ddof=1))),
        seeds=seeds,
    )
    if error.standard_error <= _ROUNDING:
        return _judge_without_spread(claim)
    return _judge(claim, error, relevant_gain)


def _what_is_missing(networks: Sequence[SceneCounts], metric: Metric, seeds: tuple[int, int]) -> str:
    """What an interval would take; empty where nothing is missing."""
    missing = [why_no_interval(networks, metric) or ""]
    if min(seeds) < MIN_SEEDS:
        missing.append(f"It takes {MIN_SEEDS} seeds of each side; there are {seeds[0]} and {seeds[1]}.")
    return " ".join(filter(None, missing))


def _scene_variance(networks: Sequence[SceneCounts], candidates: int, metric: Metric, draws: int, seed: int) -> float:
    """Variance of the difference over scenes: the larger of the bootstrap's and the jackknife's."""
    drawn = _differences(bootstrap_scores(networks, metric, draws=draws, seed=seed), candidates)
    without_one = _differences(leave_one_out_scores(networks, metric), candidates)
    scenes = len(without_one)
    bootstrap = float(drawn[~np.isnan(drawn)].var()) * scenes / (scenes - 1)
    jackknife = float(without_one.var()) * (scenes - 1)
    return max(bootstrap, jackknife)


def _differences(scores: Floats, candidates: int) -> Floats:
    """Mean of the first rows less mean of the rest."""
    difference: Floats = scores[:candidates].mean(axis=0) - scores[candidates:].mean(axis=0)
    return difference


def _judge_without_spread(claim: Claim) -> Claim:
    """No seed and no scene differs from another, so that no error can be estimated.

    An equal score is what it is. An unequal one (a class found in every scene against one that never is) has all scenes
    on one side, which chance does with probability 2^-S.
    """
    if abs(claim.difference) <= _ROUNDING:
        why = "Both score the same in every seed and every scene."
        return replace(claim, low=0.0, high=0.0, verdict=Verdict.NOT_SUPPORTED, why=why)
    needed = math.ceil(1 - math.log2(1 - claim.level))
    if claim.scenes < needed:
        why = (
            f"The difference is the same in every seed and every scene, so that no error can be estimated. It takes "
            f"{needed} scenes on one side to exclude chance; {claim.scenes} are."
        )
        return replace(claim, why=why)
    claim = replace(claim, low=claim.difference, high=claim.difference)
    why = f"The difference is the same in every seed and in all {claim.scenes} scenes."
    verdict = Verdict.NOT_SUPPORTED if claim.is_worse else Verdict.SUPPORTED
    return replace(claim, verdict=verdict, why=why)


def _judge(claim: Claim, error: DifferenceError, relevant_gain: float) -> Claim:
    half = error.half_width(claim.level)
    claim = replace(
        claim,
        low=claim.difference - half,
        high=claim.difference + half,
        seed_share=error.seed_variance / error.standard_error**2,
    )
    gain = -claim.difference if claim.minimised else claim.difference
    if gain - half > 0:
        small = f" The gain is below {relevant_gain:g}, too small to matter." if gain + half < relevant_gain else ""
        return replace(claim, verdict=Verdict.SUPPORTED, why=f"The whole interval is better than no difference.{small}")
    if claim.is_worse:
        return replace(claim, verdict=Verdict.NOT_SUPPORTED, why="The candidate is worse: the whole interval is.")
    if gain + half < relevant_gain:
        why = f"A gain of {relevant_gain:g} or more is excluded."
        return replace(claim, verdict=Verdict.NOT_SUPPORTED, why=why)
    why = f"The interval holds both no gain and one of {relevant_gain:g} or more."
    needed = _what_it_takes(error, claim.level, max(gain, relevant_gain - gain))
    return replace(claim, why=f"{why} {needed}")


def _what_it_takes(error: DifferenceError, level: float, target: float) -> str:
    """How many seeds or scenes would make the half-width smaller than a target, if all else stays as estimated."""
    more_seeds = range(max(error.seeds) + 1, MOST + 1)
    seeds = next((n for n in more_seeds if error.with_seeds(n).half_width(level) < target), None)
    times = next((k for k in range(2, MOST + 1) if error.with_scenes(k).half_width(level) < target), None)
    by_seeds = f"About {seeds} seeds of each would tell, if the difference stays." if seeds else ""
    by_scenes = f"About {times} times the scenes would tell, if the difference stays." if times else ""
    in_order = [by_seeds, by_scenes] if error.seed_variance > error.scene_variance else [by_scenes, by_seeds]
    neither = f"Neither {MOST} seeds of each nor {MOST} times the scenes would tell alone."
    return next(filter(None, in_order), neither)


def vanishes_when_adjusted(plain: Claim, adjusted: Claim) -> bool:
    """Whether a gain is supported as it is, and no longer when both sides are logit-adjusted.

    A loss that only moves the balance between missing and accusing is matched by the reference with its own balance
    moved, which costs no training.
    """
    return plain.verdict is Verdict.SUPPORTED and adjusted.verdict is not Verdict.SUPPORTED


def caution_of_many(claims: int, level: float = 0.95) -> str:
    """Say how many of so many claims chance alone would support."""
    by_chance = claims * (1 - level) / 2
    return (
        f"{claims} {'claim' if claims == 1 else 'claims'} at {100 * level:g} %: about {by_chance:.2g} would be called "
        "supported by chance if nothing were real."
    )
