"""Metrics of a split by name, and the choice of tau."""

import numpy as np
import pytest

from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding
from trainable.measure.split_metrics import adjusted_metrics, fit_tau, split_metrics

CLASSES = (("road", False), ("person", True), ("sky", False), ("car", True), ("boat", True))
IMAGE_SET = ImageSet(
    "five", tuple(LabelClass(name, (0, 0, 0), thing) for name, thing in CLASSES), MaskEncoding("ids"), ()
)
MATRIX = np.zeros((5, 5), dtype=np.int64)
MATRIX[:4, :4] = [[60, 2, 3, 5], [4, 6, 0, 0], [1, 0, 9, 0], [2, 0, 0, 8]]
OBJECTS = np.zeros((2, 5, 3), dtype=np.int64)
OBJECTS[:, 1] = [[3, 1, 0], [2, 2, 4]]
OBJECTS[:, 3] = [[1, 0, 0], [0, 0, 1]]
OBJECTS[:, 4] = [[0, 0, 2], [0, 0, 1]]


def test_pixel_metrics():
    metrics = split_metrics(MATRIX, OBJECTS, IMAGE_SET)
    assert metrics["iou/person"] == pytest.approx(6 / 12)
    assert metrics["recall/car"] == pytest.approx(8 / 10)
    assert metrics["precision/car"] == pytest.approx(8 / 13)
    assert metrics["thing_miou"] == pytest.approx((6 / 12 + 8 / 15) / 2)
    assert metrics["thing_recall"] == pytest.approx((6 / 10 + 8 / 10) / 2)
    assert metrics["thing_precision"] == pytest.approx((6 / 8 + 8 / 13) / 2)
    assert metrics["worst_class_iou"] == pytest.approx(6 / 12)
    assert metrics["pixel_accuracy"] == pytest.approx(83 / 100)
    assert metrics["miou"] == pytest.approx(np.mean([60 / 77, 6 / 12, 9 / 13, 8 / 15]))
    assert not {"iou/boat", "recall/boat", "precision/boat"} & metrics.keys()


def test_object_metrics():
    metrics = split_metrics(MATRIX, OBJECTS, IMAGE_SET)
    assert metrics["miss_rate/person"] == 3 / 5
    assert metrics["miss_rate/car"] == 0
    assert "miss_rate/boat" not in metrics, "there is none that could be missed"
    assert metrics["false_alarms_per_image/person"] == 4 / 2
    assert metrics["false_alarms_per_image/car"] == 1 / 2
    assert metrics["false_alarms_per_image/boat"] == 3 / 2
    assert metrics["thing_miss_rate"] == pytest.approx((3 / 5 + 0) / 2)
    assert metrics["thing_false_alarms_per_image"] == pytest.approx(4)
    assert not {"miss_rate/road", "false_alarms_per_image/road"} & metrics.keys()


def test_an_empty_split_has_no_metrics():
    assert split_metrics(0 * MATRIX, OBJECTS[:0], IMAGE_SET) == {}


def test_adjusted_metrics_have_names_of_their_own():
    given = adjusted_metrics(MATRIX, -0.25, IMAGE_SET)
    plain = split_metrics(MATRIX, OBJECTS, IMAGE_SET)
    assert given.pop("adjusted/tau") == -0.25
    pixel_names = {name for name in plain if not name.startswith(("miss", "false", "thing_miss", "thing_false"))}
    assert given == {f"adjusted/{name}": plain[name] for name in pixel_names}


def matrix_of(persons_found, roads_lost):
    """10 persons and 90 road pixels."""
    matrix = np.zeros((5, 5), dtype=np.int64)
    matrix[1, :2] = 10 - persons_found, persons_found
    matrix[0, :2] = 90 - roads_lost, roads_lost
    return matrix


TAUS = (-0.5, 0.0, 0.5, 1.0)
MATRICES = np.stack([matrix_of(0, 0), matrix_of(3, 1), matrix_of(6, 4), matrix_of(9, 30)])


@pytest.mark.parametrize(
    ("objective", "tau"),
    [
        ("recall/person", 1.0),
        ("thing_recall", 1.0),
        ("precision/person", 0.0),  # at -0.5 none is predicted, which is no precision
        ("thing_precision", 0.0),
        ("recall/road", -0.5),
        ("pixel_accuracy", 0.0),  # 92 of 100 pixels at 0 and at 0.5
        ("miou", 0.5),
        ("thing_miou", 0.5),
        ("worst_class_iou", 0.5),
        ("iou/boat", 0.5),  # the split has none
        ("thing_miss_rate", 0.5),
        ("false_alarms_per_image/person", 0.5),
    ],
)
def test_tau_is_that_of_the_best_objective_and_of_miou_where_pixels_do_not_tell(objective, tau):
    assert TAUS[fit_tau(MATRICES, TAUS, objective, IMAGE_SET)] == tau


def test_of_equals_tau_is_the_closest_to_zero():
    matrices = np.stack([matrix_of(5, 2)] * 4)
    assert TAUS[fit_tau(matrices, TAUS, "miou", IMAGE_SET)] == 0
    assert (0.75, 1.25)[fit_tau(matrices[:2], (0.75, 1.25), "miou", IMAGE_SET)] == 0.75
    assert TAUS[fit_tau(0 * matrices, TAUS, "miou", IMAGE_SET)] == 0
