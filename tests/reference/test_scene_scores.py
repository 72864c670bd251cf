"""Metrics of weighted scenes against loops over drawn images, and against `ClassMetrics`."""

import math

import numpy as np
import pytest

from analysis.evidence.scene_scores import SplitCounts, scene_metric
from trainable.config.objectives import class_objectives, plain_objectives
from trainable.measure.confusion import class_metrics

CLASSES = ["road", "car", "person", "boat", "drone"]
THINGS = (1, 2, 3, 4)
NAMES = [*plain_objectives(), *(f"{kind}/{name}" for kind in class_objectives() for name in CLASSES)]


@pytest.fixture(scope="module")
def matrices():
    """Confusion matrices of 9 images: boat is never true, drone never predicted, person in one scene alone."""
    generator = np.random.default_rng(5)
    matrices = generator.integers(1, 40, (9, 5, 5)) * generator.integers(0, 2, (9, 5, 5))
    matrices[:, np.arange(5), np.arange(5)] *= 3
    matrices[:, 3, :] = 0
    matrices[:, :, 4] = 0
    matrices[2:, 2, :] = 0
    return matrices


@pytest.fixture(scope="module")
def split(matrices):
    tp = np.diagonal(matrices, axis1=1, axis2=2)
    counts = np.stack([tp, matrices.sum(axis=2) - tp, matrices.sum(axis=1) - tp], axis=2)
    generator = np.random.default_rng(6)
    true = generator.integers(0, 5, (9, 5)) * (matrices.sum(axis=2) > 0)
    objects = np.stack([true, (true * generator.random((9, 5))).astype(int), generator.integers(0, 4, (9, 5))], axis=2)
    objects[:, 0] = 0
    return SplitCounts(counts.astype(np.int64), objects.astype(np.int64))


SCENES = ["b", "b", "a", "c", "a", "a", "c", "d", "d"]


def naive_score(name, images, split):
    """From the definition, over a list of images in which one may stand several times."""
    tp, fn, fp, objects, missed, alarms = ([0] * 5 for _ in range(6))
    for image in images:
        for c in range(5):
            tp[c] += int(split.counts[image, c, 0])
            fn[c] += int(split.counts[image, c, 1])
            fp[c] += int(split.counts[image, c, 2])
            objects[c] += int(split.objects[image, c, 0])
            missed[c] += int(split.objects[image, c, 1])
            alarms[c] += int(split.objects[image, c, 2])
    occurring = [c for c in range(5) if tp[c] + fn[c] > 0]
    values = {
        "iou": {c: tp[c] / (tp[c] + fn[c] + fp[c]) for c in occurring},
        "recall": {c: tp[c] / (tp[c] + fn[c]) for c in occurring},
        "precision": {c: tp[c] / (tp[c] + fp[c]) for c in occurring if tp[c] + fp[c] > 0},
        "miss_rate": {c: missed[c] / objects[c] for c in range(5) if objects[c]},
        "false_alarms_per_image": {c: alarms[c] / len(images) for c in range(5)},
    }
    kind, _, class_name = name.partition("/")
    if class_name:
        return values[kind].get(CLASSES.index(class_name), math.nan)
    if name == "pixel_accuracy":
        return sum(tp) / (sum(tp) + sum(fn))
    if name == "thing_false_alarms_per_image":
        return sum(values["false_alarms_per_image"][c] for c in THINGS)
    if name == "worst_class_iou":
        return min(values["iou"].values())
    if name == "thing_precision":
        chosen = [values["precision"].get(c, 0.0) for c in occurring if c in THINGS]
        return sum(chosen) / len(chosen) if chosen else math.nan
    kind = "iou" if name.endswith("miou") else name.removeprefix("thing_")
    chosen = [value for c, value in values[kind].items() if name == "miou" or c in THINGS]
    return sum(chosen) / len(chosen) if chosen else math.nan


@pytest.mark.parametrize("name", NAMES)
def test_metrics_of_drawn_scenes_match_loops_over_their_images(split, name):
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1], [0, 3, 0, 1], [1, 0, 2, 1], [4, 0, 0, 0]])
    expected = []
    for row in weights:
        repeats = dict(zip("abcd", row.tolist(), strict=True))
        images = [image for image, scene in enumerate(SCENES) for _ in range(repeats[scene])]
        expected.append(naive_score(name, images, split))
    scores = scene_metric(name, CLASSES, THINGS)(split.by_scene(SCENES), weights.astype(float))
    np.testing.assert_allclose(scores, expected, rtol=1e-12, equal_nan=True)


def test_metrics_of_all_scenes_are_those_of_the_confusion_matrix(split, matrices):
    expected = class_metrics(matrices.sum(axis=0))
    scenes = split.by_scene(SCENES)

    def score(name):
        return scene_metric(name, CLASSES, THINGS).on_all(scenes)

    assert score("miou") == pytest.approx(expected.mean_iou, rel=1e-12)
    assert score("thing_miou") == pytest.approx(np.nanmean(expected.iou[list(THINGS)]), rel=1e-12)
    assert score("worst_class_iou") == expected.worst_class_iou
    assert score("pixel_accuracy") == expected.pixel_accuracy
    for label, name in enumerate(CLASSES):
        of_class = [score(f"{kind}/{name}") for kind in ("iou", "recall", "precision")]
        np.testing.assert_array_equal(
            of_class, [values[label] for values in (expected.iou, expected.recall, expected.precision)]
        )
