import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.evidence.claims import Claim, Configuration, DifferenceError, Verdict, caution_of_many, compare
from analysis.evidence.scene_scores import SceneCounts, scene_metric
from benchmarks.claims_calibration import GAIN, LAYOUTS, SCENES, SEEDS, SIZES, Cell, measure

CLASSES = ["road", "car"]
RECALL = scene_metric("recall/car", CLASSES, [1])
MISS_RATE = scene_metric("miss_rate/car", CLASSES, [1])


def network(recalls, pixels=10_000):
    """Scenes of a car class with these recalls of pixels, and the same of objects."""
    recalls = np.asarray(recalls)
    found = np.rint(recalls * pixels).astype(np.int64)
    counts = np.zeros((len(recalls), 2, 3), dtype=np.int64)
    counts[:, 0, 0] = 500
    counts[:, 1, 0], counts[:, 1, 1] = found, pixels - found
    objects = np.zeros_like(counts)
    objects[:, 1, 0], objects[:, 1, 1] = pixels, pixels - found
    names = tuple(f"{scene:02d}" for scene in range(len(recalls)))
    return SceneCounts(names, counts, objects, np.ones(len(recalls), dtype=np.int64))


EASE = np.array([0.3, 0.5, 0.4, 0.6, 0.7, 0.35, 0.45, 0.55])
BUMPS = np.array([1, -1, 0.5, -0.5, 0.8, -0.8, 0.2, -0.2])
"""Of mean 0."""


def configuration(name, gain, bump, seeds):
    """Networks that are better by the gain, by a bump more or less in each scene, and by so much with each seed."""
    return Configuration(name, [network(EASE + gain + bump * BUMPS + luck) for luck in seeds])


REFERENCE = configuration("t0002", 0, 0, [0, 0.002, -0.002])


def judge(gain, bump=0.01, seeds=(0, 0.002, -0.002), metric=RECALL, **settings):
    return compare(configuration("t0001", gain, bump, seeds), REFERENCE, metric, **{"draws": 200} | settings)


def test_a_clear_gain_is_supported():
    claim = judge(0.05)
    assert claim.verdict is Verdict.SUPPORTED
    assert claim.why == "The whole interval is better than no difference."
    assert (claim.candidate, claim.reference, claim.metric, claim.minimised) == ("t0001", "t0002", "recall/car", False)
    assert claim.value_candidate == pytest.approx(EASE.mean() + 0.05)
    assert claim.value_reference == pytest.approx(EASE.mean())
    assert claim.difference == pytest.approx(0.05)
    assert 0 < claim.low < 0.05 < claim.high
    assert (claim.seeds, claim.scenes, claim.level) == ((3, 3), 8, 0.95)
    assert claim.effective_scenes == pytest.approx(8)
    assert not claim.is_worse


def test_fewer_misses_are_a_gain():
    better, worse = judge(0.05, metric=MISS_RATE), judge(-0.05, metric=MISS_RATE)
    assert better.verdict is Verdict.SUPPORTED
    assert better.difference == pytest.approx(-0.05)
    assert better.high < 0
    assert (worse.verdict, worse.is_worse) == (Verdict.NOT_SUPPORTED, True)


def test_a_supported_gain_may_be_too_small_to_matter():
    claim = judge(0.005, bump=0.001, seeds=[0, 0.001, -0.001], relevant_gain=0.03)
    assert claim.verdict is Verdict.SUPPORTED
    assert claim.why == "The whole interval is better than no difference. The gain is below 0.03, too small to matter."


def test_a_gain_that_would_matter_is_excluded():
    claim = judge(0.0, bump=0.005)
    assert claim.verdict is Verdict.NOT_SUPPORTED
    assert claim.why == "A gain of 0.01 or more is excluded."
    assert claim.low < 0 < claim.high < 0.01
    assert not claim.is_worse


def test_a_worse_candidate_is_not_supported():
    claim = judge(-0.05)
    assert (claim.verdict, claim.is_worse) == (Verdict.NOT_SUPPORTED, True)
    assert claim.why == "The candidate is worse: the whole interval is."


def test_more_seeds_would_tell_where_seeds_differ():
    claim = judge(0.02, bump=0.002, seeds=[0, 0.03, -0.03])
    assert claim.verdict is Verdict.CANNOT_BE_TOLD
    assert claim.seed_share > 0.9
    assert claim.why == (
        "The interval holds both no gain and one of 0.01 or more. About 12 seeds of each would tell, if the "
        "difference stays."
    )


def test_more_scenes_would_tell_where_scenes_differ():
    claim = judge(0.02, bump=0.08, draws=2000)
    assert claim.verdict is Verdict.CANNOT_BE_TOLD
    assert claim.seed_share < 0.1
    assert claim.why.endswith("About 5 times the scenes would tell, if the difference stays.")


@pytest.mark.parametrize(
    ("bump", "luck", "needed"),
    [(0.029, 0.0072, "About 2 times the scenes would tell"), (0.0248, 0.0087, "About 4 seeds of each would tell")],
)
def test_more_of_what_differs_most_is_proposed_where_either_would_tell(bump, luck, needed):
    seeds = [0, luck, -luck]
    sides = configuration("t0001", 0.02, bump, seeds), configuration("t0002", 0, 0, seeds)
    assert needed in compare(*sides, RECALL, draws=2000).why
    error = DifferenceError((bump * BUMPS.std(ddof=1)) ** 2 / 8, 8, (luck**2, luck**2), (3, 3))
    assert error.with_seeds(50).half_width(0.95) < 0.02
    assert error.with_scenes(50).half_width(0.95) < 0.02


def test_it_may_take_both():
    claim = judge(0.0, bump=0.2, seeds=[0, 0.1, -0.1], relevant_gain=0.004)
    assert claim.why.endswith("Neither 50 seeds of each nor 50 times the scenes would tell alone.")


def test_the_interval_narrows_to_what_would_tell():
    """A gain of .004 is told from 0 by less than .004, or from .01 by less than .006: the easier is proposed."""
    claim = judge(0.004, bump=0.0, seeds=[0, 0.0173, -0.0173])
    assert claim.verdict is Verdict.CANNOT_BE_TOLD
    seeds = int(claim.why.split("About ")[1].split()[0])
    error = DifferenceError(0.0, 8, (0.0173**2, 0.002**2), (3, 3))
    assert error.with_seeds(seeds).half_width(0.95) < 0.006 <= error.with_seeds(seeds - 1).half_width(0.95)


@pytest.mark.parametrize(
    ("candidates", "references", "scenes", "why"),
    [
        (1, 3, 8, "It takes 2 seeds of each side; there are 1 and 3."),
        (3, 2, 4, "It takes 5 scenes that have what recall/car measures; 4 do."),
        (
            2,
            1,
            3,
            "It takes 5 scenes that have what recall/car measures; 3 do. It takes 2 seeds of each side; there are 2 "
            "and 1.",
        ),
    ],
)
def test_what_is_missing_is_said(candidates, references, scenes, why):
    sides = [
        Configuration(name, [network(EASE[:scenes] + 0.01 * seed) for seed in range(count)])
        for name, count in (("a", candidates), ("b", references))
    ]
    claim = compare(*sides, RECALL, draws=100)
    assert claim.verdict is Verdict.CANNOT_BE_TOLD
    assert claim.why == why
    assert math.isnan(claim.low)
    assert math.isnan(claim.seed_share)
    assert not claim.is_worse


def test_a_class_that_few_scenes_have_cannot_be_told():
    pixels = np.where(np.arange(8) < 3, 10_000, 0)
    sides = [Configuration(name, [network(EASE + gain, pixels)] * 2) for name, gain in (("a", 0.2), ("b", 0))]
    claim = compare(*sides, RECALL, draws=100)
    assert claim.scenes == 3
    assert claim.why == (
        "It takes 5 scenes that have what recall/car measures; 3 do. 8 scenes were evaluated, but the others tell "
        "nothing of it."
    )


def test_an_undefined_metric_cannot_be_told():
    sides = [Configuration(name, [network(EASE, 0)] * 2) for name in "ab"]
    claim = compare(*sides, RECALL, draws=100)
    assert claim.why.startswith("recall/car is undefined for a network")
    assert math.isnan(claim.difference)
    assert claim.scenes == 0


def test_equal_networks_have_no_gain():
    claim = compare(Configuration("a", [network(EASE)] * 2), Configuration("b", [network(EASE)] * 3), RECALL)
    assert (claim.difference, claim.low, claim.high) == (0, 0, 0)
    assert claim.verdict is Verdict.NOT_SUPPORTED
    assert claim.why == "Both score the same in every seed and every scene."


@pytest.mark.parametrize(("scenes", "verdict"), [(5, Verdict.CANNOT_BE_TOLD), (6, Verdict.SUPPORTED)])
def test_all_against_none_takes_six_scenes(scenes, verdict):
    """A class found in every scene against one that never is: no spread, and a chance of 2^-S."""
    found, lost = Configuration("a", [network([1.0] * scenes)] * 2), Configuration("b", [network([0.0] * scenes)] * 2)
    claim = compare(found, lost, RECALL)
    assert claim.verdict is verdict
    assert math.isnan(claim.low) == (scenes == 5)
    reverse = compare(lost, found, RECALL)
    assert (reverse.verdict is Verdict.NOT_SUPPORTED, reverse.is_worse) == (scenes == 6, scenes == 6)
    if scenes == 5:
        assert claim.why == (
            "The difference is the same in every seed and every scene, so that no error can be estimated. It takes 6 "
            "scenes on one side to exclude chance; 5 are."
        )


def test_only_shared_scenes_are_compared():
    other = Configuration("t0003", [seed.only(seed.names[2:]) for seed in REFERENCE.networks])
    claim = compare(configuration("t0001", 0.05, 0.01, [0, 0.002, -0.002]), other, RECALL, draws=100)
    assert claim.scenes == 6
    assert claim.value_reference == pytest.approx(EASE[2:].mean())
    assert claim.value_candidate == pytest.approx(np.mean(EASE[2:] + 0.05 + 0.01 * BUMPS[2:]))


def test_a_gain_must_matter():
    with pytest.raises(ValueError, match="the relevant gain must be above 0; got 0"):
        judge(0.05, relevant_gain=0)


def test_each_side_needs_a_network():
    with pytest.raises(ValueError, match="each side must have a network; got 0 and 3"):
        compare(Configuration("t0001", []), REFERENCE, RECALL)


def test_a_claim_is_plain_values():
    assert isinstance(judge(0.05), Claim)
    assert str(judge(0.05).verdict) == "supported"


@pytest.mark.parametrize(
    ("claims", "level", "sentence"),
    [
        (12, 0.95, "12 claims at 95 %: about 0.3 would be called supported by chance if nothing were real."),
        (1, 0.9, "1 claim at 90 %: about 0.05 would be called supported by chance if nothing were real."),
        (200, 0.95, "200 claims at 95 %: about 5 would be called supported by chance if nothing were real."),
    ],
)
def test_many_claims_come_with_a_caution(claims, level, sentence):
    assert caution_of_many(claims, level) == sentence


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sizes", SIZES)
def test_false_claims_are_rare(layout, sizes):
    """At most 5 % in any cell and 2.5 % in all of them, give or take what so few simulations err by.

    `benchmarks/claims_calibration.py` has every cell, and more of each.
    """
    runs, allowed = 40, 0.999
    cells = [Cell(scenes, seeds, sizes, "scenes", layout) for scenes, seeds in itertools.product(SCENES, SEEDS)]
    false = [measure(cell, 0.0, runs, draws=100).supported * runs for cell in cells]
    assert max(false) <= stats.binom.ppf(allowed, runs, 0.05)
    assert sum(false) <= stats.binom.ppf(allowed, runs * len(cells), 0.025)


def test_real_gains_are_found():
    rates = measure(Cell(20, 3, "equal", "scenes", "one class"), GAIN, runs=60, draws=100)
    assert rates.supported > 0.95
    assert rates.covered > 0.85
