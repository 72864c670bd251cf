import numpy as np
import pytest

from analysis.evidence.scene_scores import SceneCounts, SplitCounts, scene_metric, shared_scenes

CLASSES = ["road", "car", "person", "boat"]
THINGS = (1, 2, 3)


def split_counts(images=3, classes=4):
    return SplitCounts(np.ones((images, classes, 3), dtype=np.int64), np.ones((images, classes, 3), dtype=np.int64))


def test_images_add_up_to_scenes():
    counts = np.arange(4 * 2 * 3, dtype=np.int64).reshape(4, 2, 3)
    objects = np.zeros((4, 2, 3), dtype=np.int64)
    objects[:, 1] = [[3, 1, 0], [4, 0, 2], [0, 0, 5], [2, 2, 1]]
    scenes = SplitCounts(counts, objects).by_scene(["z", "a", "z", "m"])
    assert scenes.names == ("a", "m", "z")
    assert scenes.images.tolist() == [1, 1, 2]
    assert scenes.counts[:, 0].tolist() == [[6, 7, 8], [18, 19, 20], [12, 14, 16]]
    assert scenes.objects[:, 1].tolist() == [[4, 0, 2], [2, 2, 1], [3, 1, 5]]
    assert scenes.pixels[:, 0].tolist() == [13, 37, 26]
    assert scenes.counts.dtype == scenes.objects.dtype == scenes.images.dtype == np.int64


def test_scenes_are_kept_by_name():
    scenes = split_counts().by_scene(["c", "a", "b"])
    kept = scenes.only(["c", "a", "of another split"])
    assert kept.names == ("a", "c")
    assert kept.counts.shape == kept.objects.shape == (2, 4, 3)
    assert kept.images.tolist() == [1, 1]


def test_compared_networks_keep_the_scenes_they_share():
    one, other = split_counts().by_scene(["a", "b", "c"]), split_counts().by_scene(["c", "d", "b"])
    assert [network.names for network in shared_scenes([one, other])] == [("b", "c")] * 2


@pytest.mark.parametrize("changed", ["images", "pixels", "objects"])
def test_networks_of_other_images_are_refused(changed):
    one = split_counts().by_scene(["a", "b", "c"])
    other = split_counts().by_scene(["a", "b", "c"])
    if changed == "images":
        other.images[1] = 2
    elif changed == "pixels":
        other.counts[1, 2, 1] = 7
    else:
        other.objects[1, 2, 0] = 7
    with pytest.raises(ValueError, match="same images; scene b has other images or another truth"):
        shared_scenes([one, other])


def test_networks_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="the same classes; got 4 and 3"):
        shared_scenes([split_counts().by_scene("abc"), split_counts(classes=3).by_scene("abc")])


def test_predictions_may_differ_between_networks():
    one, other = split_counts().by_scene("abc"), split_counts().by_scene("abc")
    other.counts[0, 0] = [2, 0, 9]
    other.objects[0, 1] = [1, 0, 9]
    assert len(shared_scenes([one, other])) == 2


@pytest.mark.parametrize(
    ("counts", "objects", "message"),
    [
        (np.ones((3, 4), dtype=np.int64), np.ones((3, 4), dtype=np.int64), r"\(images, classes, 3\); got \(3, 4\)"),
        (np.ones((3, 4, 3), dtype=np.int64), np.ones((2, 4, 3), dtype=np.int64), r"\(3, 4, 3\) and \(2, 4, 3\)"),
        (np.ones((3, 4, 3)), np.ones((3, 4, 3), dtype=np.int64), "counts must hold int64 >= 0; got float64"),
        (np.ones((3, 4, 3), dtype=np.int64), -np.ones((3, 4, 3), dtype=np.int64), "objects must hold int64 >= 0"),
        (np.ones((3, 4, 3), dtype=np.int64), np.full((3, 4, 3), [1, 2, 0]), "miss more objects than it has"),
    ],
)
def test_wrong_counts_are_refused(counts, objects, message):
    with pytest.raises(ValueError, match=message):
        SplitCounts(counts, objects)


def test_each_image_needs_a_scene():
    with pytest.raises(ValueError, match="got 2 scenes for 3 images"):
        split_counts().by_scene(["a", "b"])


@pytest.mark.parametrize("name", ["accuracy", "iou", "iou/", "iou/bike", "objects/car", "miou/car", ""])
def test_unknown_metrics_are_refused(name):
    with pytest.raises(ValueError, match=r"a metric must be one of miou.*\(road, car, person, boat\)"):
        scene_metric(name, CLASSES, THINGS)


@pytest.mark.parametrize(
    ("name", "minimised"),
    [("miou", False), ("recall/car", False), ("thing_miss_rate", True), ("false_alarms_per_image/boat", True)],
)
def test_metrics_know_their_direction(name, minimised):
    assert scene_metric(name, CLASSES, THINGS).minimised is minimised


@pytest.fixture
def scenes():
    """Road in all three scenes, car in two of unequal size, person in one, boat in none; objects lie otherwise."""
    pixels = np.array([[10, 30, 0, 0], [10, 10, 8, 0], [60, 0, 0, 0]])
    tp = np.array([[10, 15, 0, 0], [10, 5, 7, 0], [30, 0, 0, 0]])
    counts = np.stack([tp, pixels - tp, np.zeros_like(tp)], axis=2)
    objects = np.zeros_like(counts)
    objects[:, 1, 0] = [1, 4, 0]
    return SceneCounts(("a", "b", "c"), counts, objects, np.array([1, 2, 5]))


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("iou/car", [0.75, 0.25, 0]),
        ("precision/person", [0, 1, 0]),
        ("miss_rate/car", [0.2, 0.8, 0]),
        ("recall/boat", [0, 0, 0]),
        ("miou", [(1 / 8 + 3 / 4 + 0) / 3, (1 / 8 + 1 / 4 + 1) / 3, (6 / 8) / 3]),
        ("thing_recall", [0.375, 0.625, 0]),
        ("thing_miss_rate", [0.2, 0.8, 0]),
        ("pixel_accuracy", [40 / 128, 28 / 128, 60 / 128]),
        ("false_alarms_per_image/boat", [1 / 8, 2 / 8, 5 / 8]),
        ("thing_false_alarms_per_image", [1 / 8, 2 / 8, 5 / 8]),
        ("worst_class_iou", [0.75, 0.25, 0]),
    ],
)
def test_shares_say_where_a_metric_is_measured(scenes, name, shares):
    np.testing.assert_allclose(scene_metric(name, CLASSES, THINGS).scene_shares(scenes), shares)


def test_a_metric_of_no_things_is_undefined(scenes):
    for name in ("thing_miou", "thing_miss_rate", "thing_false_alarms_per_image"):
        assert np.isnan(scene_metric(name, CLASSES, ()).on_all(scenes))


def test_stuff_miou_is_the_mean_over_the_classes_that_are_no_things(scenes):
    metric = scene_metric("stuff_miou", CLASSES, (1, 2))
    assert (metric.labels, metric.minimised) == ((0, 3), False)
    assert metric.on_all(scenes) == pytest.approx(50 / 80, abs=1e-12)  # the boat never occurs
    assert metric.scene_shares(scenes).tolist() == pytest.approx([1 / 8, 1 / 8, 6 / 8], abs=1e-12)
    assert np.isnan(scene_metric("stuff_miou", CLASSES, range(4)).on_all(scenes))
