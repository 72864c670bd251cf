import math

import numpy as np
import pytest
from scipy import stats

from analysis.evidence.scene_bootstrap import (
    bootstrap_scores,
    effective_scenes,
    expanded_tail,
    interval_of_mean,
    leave_one_out_scores,
    scenes_that_count,
)
from analysis.evidence.scene_scores import SceneCounts, scene_metric

CLASSES = ["road", "car"]
IOU_OF_CAR = scene_metric("iou/car", CLASSES, [1])


def network(recalls, pixels=None, images=None):
    """Scenes of one car class with these recalls, without false positives; 1,000 pixels where none are given."""
    pixels = np.array([1000] * len(recalls) if pixels is None else pixels)
    tp = np.rint(np.array(recalls) * pixels).astype(int)
    counts = np.zeros((len(recalls), 2, 3), dtype=np.int64)
    counts[:, 0, 0] = 500
    counts[:, 1, 0], counts[:, 1, 1] = tp, pixels - tp
    names = tuple(f"{scene:02d}" for scene in range(len(recalls)))
    images = np.ones(len(recalls), dtype=np.int64) if images is None else np.array(images)
    return SceneCounts(names, counts, np.zeros_like(counts), images)


RECALLS = [0.2, 0.5, 0.9, 0.4, 0.75, 0.6]
PIXELS = [1000, 4000, 500, 200, 3000, 100]


def test_every_network_sees_the_same_draws():
    networks = [network(RECALLS, PIXELS), network(RECALLS[::-1], PIXELS), network(RECALLS, PIXELS)]
    scores = bootstrap_scores(networks, IOU_OF_CAR, draws=50, seed=3)
    assert scores.shape == (3, 50)
    np.testing.assert_array_equal(scores[0], scores[2])
    assert (scores[0] != scores[1]).any()
    np.testing.assert_array_equal(bootstrap_scores(networks[2:], IOU_OF_CAR, draws=50, seed=3), scores[2:])
    assert (bootstrap_scores(networks, IOU_OF_CAR, draws=50, seed=4) != scores).any()


def test_draws_are_of_as_many_scenes():
    """Alarms an image, of scenes with 1, 10 and 100 images and as many alarms to the second power."""
    images = np.array([1, 10, 100])
    one = network([0.5] * 3, images=images)
    one.objects[:, 1, 2] = images**2
    metric = scene_metric("false_alarms_per_image/car", CLASSES, [1])
    drawn = {
        (i**2 + j**2 + k**2) / (i + j + k) for i in images.tolist() for j in images.tolist() for k in images.tolist()
    }
    scores = bootstrap_scores([one], metric, draws=400, seed=0)[0]
    assert {round(score, 9) for score in scores.tolist()} == {round(score, 9) for score in drawn}


def test_leaving_each_scene_out():
    scores = leave_one_out_scores([network([0.2, 0.5, 0.9], [1000, 3000, 500])], IOU_OF_CAR)
    assert scores.tolist() == [pytest.approx([(1500 + 450) / 3500, (200 + 450) / 1500, (200 + 1500) / 4000])]


def test_scenes_of_unequal_weight_are_worth_fewer():
    assert effective_scenes([network([0.5] * 8)], IOU_OF_CAR) == pytest.approx(8)
    assert effective_scenes([network([0.5] * 3, [600, 300, 100])], IOU_OF_CAR) == pytest.approx(1 / 0.46)
    assert effective_scenes([network([0.5] * 3, [0, 0, 0])], IOU_OF_CAR) == 0
    assert scenes_that_count([network([0.5] * 4, [600, 0, 100, 0])], IOU_OF_CAR) == 2


def test_the_worst_class_may_be_another_in_each_network():
    one, other = network([0.9] * 3, [600, 300, 100]), network([0.9] * 3, [600, 300, 100])
    one.counts[:, 0, 2] = 50_000
    worst = scene_metric("worst_class_iou", CLASSES, [1])
    assert effective_scenes([one], worst) == pytest.approx(3)
    assert effective_scenes([one, other], worst) == pytest.approx(1 / 0.46)
    other.counts[1, 1] = 0
    assert scenes_that_count([one], worst) == 3
    assert scenes_that_count([one, other], worst) == 2


def test_the_percentiles_of_few_scenes_are_wider():
    for scenes in (5, 8, 35):
        z = math.sqrt(scenes / (scenes - 1)) * stats.t.ppf(0.975, scenes - 1)
        assert expanded_tail(scenes, 0.95) == pytest.approx(stats.norm.sf(z))
    assert expanded_tail(5, 0.95) == pytest.approx(0.00096, abs=2e-5)
    assert expanded_tail(1e7, 0.9) == pytest.approx(0.05, rel=1e-4)
    assert expanded_tail(1.2, 0.95) == expanded_tail(2, 0.95) > 0


def test_an_interval_of_a_mean_over_seeds():
    seeds = [network(RECALLS), network([recall + 0.03 for recall in RECALLS]), network([r - 0.06 for r in RECALLS])]
    result = interval_of_mean(seeds, IOU_OF_CAR, level=0.9, draws=1500, seed=1)
    assert (result.metric, result.level, result.seeds, result.scenes) == ("iou/car", 0.9, 3, 6)
    assert result.value == pytest.approx(np.mean(RECALLS) - 0.01)
    assert result.seed_sd == pytest.approx(np.std([0, 0.03, -0.06], ddof=1))
    assert result.why_none is None
    generator = np.random.default_rng(1)
    means = [np.mean([RECALLS[s] for s in generator.integers(0, 6, 6)]) - 0.01 for _ in range(20_000)]
    tail = stats.norm.sf(math.sqrt(6 / 5) * stats.t.ppf(0.95, 5))
    assert [result.low, result.high] == pytest.approx(np.quantile(means, [tail, 1 - tail]).tolist(), abs=0.03)


def test_an_interval_of_unequal_scenes_is_wider_for_it():
    """Its percentiles are those of as many equal scenes as they are worth."""
    one = network(RECALLS, PIXELS)
    result = interval_of_mean([one], IOU_OF_CAR, draws=500, seed=2)
    worth = sum(PIXELS) ** 2 / sum(pixels**2 for pixels in PIXELS)
    assert worth < 3
    tail = stats.norm.sf(math.sqrt(worth / (worth - 1)) * stats.t.ppf(0.975, worth - 1))
    scores = bootstrap_scores([one], IOU_OF_CAR, draws=500, seed=2)[0]
    assert [result.low, result.high] == np.quantile(scores, [tail, 1 - tail]).tolist()


def test_one_seed_has_an_interval_and_no_spread():
    result = interval_of_mean([network(RECALLS)], IOU_OF_CAR, draws=100)
    assert math.isnan(result.seed_sd)
    assert result.low < result.value < result.high


@pytest.mark.parametrize(
    ("recalls", "pixels", "message"),
    [
        ([0.5], [100], "It takes 5 scenes that have what iou/car measures; 1 does."),
        ([0.5, 0.6, 0.7, 0.8], [100] * 4, "It takes 5 scenes that have what iou/car measures; 4 do."),
        (
            [0.5] * 9,
            [100, 0, 0, 0, 0, 10, 0, 10, 0],
            "It takes 5 scenes that have what iou/car measures; 3 do. 9 scenes were evaluated, but the others tell "
            "nothing of it.",
        ),
        (
            [0.5] * 9,
            [0] * 9,
            "iou/car is undefined for a network: what it measures never occurs, or is never predicted.",
        ),
    ],
)
def test_why_there_is_no_interval(recalls, pixels, message):
    result = interval_of_mean([network(recalls, pixels)], IOU_OF_CAR, draws=100)
    assert result.why_none == message
    assert math.isnan(result.low)
    assert math.isnan(result.high)


def test_a_precision_that_rests_on_one_scene_has_no_interval():
    metric = scene_metric("precision/car", CLASSES, [1])
    result = interval_of_mean([network([0, 0, 0.5, 0, 0, 0])], metric, draws=100)
    assert result.value == 1
    assert result.why_none == (
        "It takes precision/car in more than one scene; without one of them it is undefined for a network."
    )


def test_five_scenes_are_enough():
    result = interval_of_mean([network([0.5, 0.1, 0.4, 0.2, 0.3, 0.9], [9, 9, 9, 9, 9, 0])], IOU_OF_CAR, draws=100)
    assert result.why_none is None
    assert result.scenes == 5
