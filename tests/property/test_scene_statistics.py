"""What must hold of scores, intervals and claims whatever the counts."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.evidence.claims import Configuration, Verdict, compare
from analysis.evidence.expected_best import expected_at_best
from analysis.evidence.scene_bootstrap import interval_of_mean
from analysis.evidence.scene_scores import SplitCounts, scene_metric
from trainable.config.objectives import class_objectives, plain_objectives
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding
from trainable.measure.confusion import class_metrics
from trainable.measure.split_metrics import split_metrics

untimed = settings(deadline=None)
CLASSES = ["road", "car", "person", "boat"]
THINGS = (1, 2, 3)
names = st.sampled_from([*plain_objectives(), *(f"{kind}/{name}" for kind in class_objectives() for name in CLASSES)])


def truths(generator, images, density):
    """Pixels and objects of each image and class; a class is absent from many images."""
    present = generator.random((images, 4)) < density
    return generator.integers(1, 500, (images, 4)) * present, generator.integers(0, 6, (images, 4)) * present


def network(generator, truth):
    """What some network would count on a truth."""
    (pixels, objects), shares = truth, generator.random(2)
    tp = generator.binomial(pixels, shares[0])
    counts = np.stack([tp, pixels - tp, generator.integers(0, 60, pixels.shape)], axis=2)
    found = np.stack([objects, generator.binomial(objects, shares[1]), generator.integers(0, 3, pixels.shape)], axis=2)
    return SplitCounts(counts.astype(np.int64), found.astype(np.int64))


@st.composite
def evaluations(draw):
    """Networks of two sides on the same images, and the scene of each image."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    images, scenes = draw(st.integers(1, 30)), draw(st.integers(1, 12))
    truth = truths(generator, images, draw(st.sampled_from([0.1, 0.5, 1.0])))
    sides = [[network(generator, truth) for _ in range(draw(st.integers(1, 3)))] for _ in range(2)]
    return sides, [f"s{scene:02d}" for scene in generator.integers(0, scenes, images)]


def judge(sides, scenes, name):
    one, other = ([split.by_scene(scenes) for split in side] for side in sides)
    metric = scene_metric(name, CLASSES, THINGS)
    return compare(Configuration("one", one), Configuration("other", other), metric, draws=40)


def assert_same(one, other):
    for left, right in zip(one, other, strict=True):
        assert left == right or math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12) or left != left


@untimed
@given(evaluations(), names, st.integers(0, 99))
def test_the_order_of_images_does_not_matter(evaluation, name, seed):
    sides, scenes = evaluation
    order = np.random.default_rng(seed).permutation(len(scenes))
    shuffled = [[SplitCounts(split.counts[order], split.objects[order]) for split in side] for side in sides]
    claim, other = judge(sides, scenes, name), judge(shuffled, [scenes[image] for image in order], name)
    np.testing.assert_equal(vars(claim), vars(other))


@untimed
@given(evaluations(), names)
def test_an_image_may_be_cut_in_two(evaluation, name):
    """Where nothing is counted by the image, a scene is the sum of its pixels and objects."""
    if "per_image" in name:
        return
    sides, scenes = evaluation
    halves = [
        [
            SplitCounts(
                np.concatenate([split.counts // 3, split.counts - split.counts // 3]),
                np.concatenate([split.objects, 0 * split.objects]),
            )
            for split in side
        ]
        for side in sides
    ]
    np.testing.assert_equal(vars(judge(sides, scenes, name)), vars(judge(halves, scenes * 2, name)))


@untimed
@given(evaluations(), names)
def test_swapping_the_sides_flips_the_sign(evaluation, name):
    sides, scenes = evaluation
    claim, swapped = judge(sides, scenes, name), judge(sides[::-1], scenes, name)
    assert_same(
        [claim.difference, claim.low, claim.high, claim.seed_share],
        [-swapped.difference, -swapped.high, -swapped.low, swapped.seed_share],
    )
    assert {claim.verdict, swapped.verdict} != {Verdict.SUPPORTED}
    if claim.verdict is Verdict.SUPPORTED:
        assert swapped.is_worse


@untimed
@given(evaluations(), st.integers(1, 5))
def test_as_many_more_alarms_an_image_on_both_sides_change_nothing(evaluation, more):
    """Adding a constant to a metric."""
    sides, scenes = evaluation
    alarms = np.array([0, 0, more])
    raised = [[SplitCounts(split.counts, split.objects + alarms) for split in side] for side in sides]
    name = "false_alarms_per_image/car"
    claim, other = judge(sides, scenes, name), judge(raised, scenes, name)
    assert_same(
        [other.value_candidate, other.value_reference], [claim.value_candidate + more, claim.value_reference + more]
    )
    assert_same([claim.difference, claim.low, claim.high], [other.difference, other.low, other.high])
    assert claim.verdict == other.verdict


@untimed
@given(evaluations(), names)
def test_a_verdict_is_what_the_interval_says(evaluation, name):
    sides, scenes = evaluation
    claim = judge(sides, scenes, name)
    if math.isnan(claim.low):
        assert claim.verdict is Verdict.CANNOT_BE_TOLD
        return
    assert claim.low <= claim.difference <= claim.high
    low, high = (-claim.high, -claim.low) if claim.minimised else (claim.low, claim.high)
    assert (claim.verdict is Verdict.SUPPORTED) == (low > 0)
    assert (claim.verdict is Verdict.CANNOT_BE_TOLD) == (low <= 0 and high >= 0.01)
    assert claim.is_worse == (high < 0)
    assert 0 <= claim.effective_scenes <= claim.scenes + 1e-9
    assert claim.scenes >= 5
    assert min(claim.seeds) >= 2


@untimed
@given(evaluations(), names)
def test_an_interval_of_a_mean_holds_what_draws_can_give(evaluation, name):
    (networks, _), scenes = evaluation
    metric = scene_metric(name, CLASSES, THINGS)
    result = interval_of_mean([split.by_scene(scenes) for split in networks], metric, draws=40)
    assert (result.why_none is None) == (not math.isnan(result.low))
    if result.why_none is None:
        assert result.low <= result.high
        assert result.scenes >= 5


@untimed
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_what_is_confirmed_is_measured_as_a_trial_records_it(seed, images):
    """Every metric that both have; some classes never occur, some are never predicted."""
    generator = np.random.default_rng(seed)
    matrices = generator.integers(0, 90, (images, 4, 4)) * (generator.random((images, 4, 1)) < 0.4)
    matrices *= generator.random(4) < 0.7
    objects = network(generator, truths(generator, images, 0.5)).objects
    objects[:, 0] = 0
    classes = tuple(LabelClass(name, (0, 0, 0), label in THINGS) for label, name in enumerate(CLASSES))
    recorded = split_metrics(matrices.sum(axis=0), objects, ImageSet("made", classes, MaskEncoding("ids"), ()))
    tp = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([tp, matrices.sum(axis=2) - tp, matrices.sum(axis=1) - tp], axis=2)
    scenes = SplitCounts(counts, objects).by_scene([f"{image % 3}" for image in range(images)])
    for name in [*plain_objectives(), *(f"{kind}/{name}" for kind in class_objectives() for name in CLASSES[1:])]:
        value = scene_metric(name, CLASSES, THINGS).on_all(scenes)
        np.testing.assert_allclose(value, recorded.get(name, math.nan), rtol=1e-12, err_msg=name)


@untimed
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_unit_weights_give_the_metrics_of_the_confusion_matrix(seed, images):
    generator = np.random.default_rng(seed)
    matrices = generator.integers(0, 90, (images, 4, 4)) * (generator.random((images, 4, 1)) < 0.4)
    tp = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([tp, matrices.sum(axis=2) - tp, matrices.sum(axis=1) - tp], axis=2)
    scenes = SplitCounts(counts, np.zeros_like(counts)).by_scene([f"{image % 3}" for image in range(images)])
    expected = class_metrics(matrices.sum(axis=0))
    things = [value for value in expected.iou[list(THINGS)].tolist() if not math.isnan(value)]
    for name, value in (
        ("miou", expected.mean_iou),
        ("thing_miou", sum(things) / len(things) if things else math.nan),
        ("worst_class_iou", expected.worst_class_iou),
        ("pixel_accuracy", expected.pixel_accuracy),
        ("iou/person", expected.iou[2]),
        ("recall/road", expected.recall[0]),
        ("precision/boat", expected.precision[3]),
    ):
        np.testing.assert_allclose(scene_metric(name, CLASSES, THINGS).on_all(scenes), value, rtol=1e-12)


@untimed
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=12), st.integers(1, 20))
def test_the_expected_best_lies_between_mean_and_best(values, n):
    mean, std = expected_at_best(values, values, n)
    assert np.mean(values) - 1e-9 <= mean <= max(values) + 1e-9
    assert mean <= expected_at_best(values, values, n + 1)[0] + 1e-9
    assert 0 <= std <= 10
