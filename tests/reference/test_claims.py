"""A claim's interval against loops over scenes and seeds, written from its definition."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from analysis.evidence.claims import Configuration, DifferenceError, compare
from analysis.evidence.scene_scores import SceneCounts, scene_metric

THING_MIOU = scene_metric("thing_miou", ["road", "car", "person"], [1, 2])
PIXELS = [[900, 4000, 0], [700, 300, 80], [800, 1200, 0], [600, 50, 900], [500, 700, 30], [400, 900, 0], [300, 20, 0]]
"""Of road, car and person in seven scenes; four have no person."""


def networks(seeds, lift, generator):
    pixels = np.array(PIXELS)
    counts = []
    for _ in range(seeds):
        tp = np.rint(pixels * np.clip(0.5 + lift + generator.normal(0, 0.1, pixels.shape), 0, 1)).astype(np.int64)
        fp = generator.integers(0, 60, pixels.shape)
        counts.append(np.stack([tp, pixels - tp, fp], axis=2))
    names = tuple("abcdefg")
    return [SceneCounts(names, one, np.zeros_like(one), np.ones(7, dtype=np.int64)) for one in counts]


def naive_thing_miou(counts, scenes):
    """Mean IoU of car and person over a list of scenes in which one may stand several times."""
    ious = []
    for c in (1, 2):
        tp, fn, fp = (sum(int(counts[scene, c, kind]) for scene in scenes) for kind in range(3))
        if tp + fn:
            ious.append(tp / (tp + fn + fp))
    return statistics.mean(ious) if ious else math.nan


def naive_difference(candidate, reference, scenes):
    sides = [statistics.mean(naive_thing_miou(one.counts, scenes) for one in side) for side in (candidate, reference)]
    return sides[0] - sides[1]


def test_an_interval_from_the_definition():
    generator = np.random.default_rng(8)
    candidate, reference = networks(4, 0.06, generator), networks(2, 0.0, generator)
    draws = 300
    claim = compare(Configuration("a", candidate), Configuration("b", reference), THING_MIOU, draws=draws, seed=11)

    everything = list(range(7))
    difference = naive_difference(candidate, reference, everything)
    drawn = []
    weights = np.random.default_rng(11).multinomial(7, [1 / 7] * 7, size=draws)  # the same draws as ours
    for row in weights.tolist():
        drawn.append(naive_difference(candidate, reference, [s for s in everything for _ in range(row[s])]))
    bootstrap = statistics.pvariance([value for value in drawn if not math.isnan(value)]) * 7 / 6
    without = [naive_difference(candidate, reference, [s for s in everything if s != out]) for out in everything]
    jackknife = 6 / 7 * sum((value - statistics.mean(without)) ** 2 for value in without)
    v_scene = max(bootstrap, jackknife)
    v_candidate = statistics.variance(naive_thing_miou(one.counts, everything) for one in candidate) / 4
    v_reference = statistics.variance(naive_thing_miou(one.counts, everything) for one in reference) / 2

    cars, people = sum(row[1] for row in PIXELS), sum(row[2] for row in PIXELS)
    worth = 1 / sum(((row[1] / cars + row[2] / people) / 2) ** 2 for row in PIXELS)
    variance = v_scene + v_candidate + v_reference
    freedom = variance**2 / (v_scene**2 / (worth - 1) + v_candidate**2 / 3 + v_reference**2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)

    assert claim.difference == pytest.approx(difference, rel=1e-10)
    assert [claim.low, claim.high] == pytest.approx([difference - half, difference + half], rel=1e-8)
    assert claim.seed_share == pytest.approx((v_candidate + v_reference) / variance, rel=1e-8)
    assert claim.effective_scenes == pytest.approx(worth, rel=1e-10)
    assert claim.scenes == 7


def test_without_scene_variance_the_half_width_is_welchs():
    generator = np.random.default_rng(2)
    one, other = generator.normal(0, 1, 4), generator.normal(0, 3, 7)
    error = DifferenceError(0.0, 20, (float(one.var(ddof=1)), float(other.var(ddof=1))), (4, 7))
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.9)
    assert error.half_width(0.9) == pytest.approx((expected.high - expected.low) / 2)


def test_with_scene_variance_alone_the_half_width_is_of_one_sample():
    values = np.random.default_rng(3).normal(0, 1, 9)
    error = DifferenceError(float(values.var(ddof=1)) / 9, 9, (0.0, 0.0), (3, 2))
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert error.half_width(0.95) == pytest.approx((expected.high - expected.low) / 2)
