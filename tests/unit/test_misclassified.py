"""Flows of misclassified pixels."""

import numpy as np
import pandas as pd
import pytest

from analysis.subjects.misclassified.figure import spread
from analysis.subjects.misclassified.table import (
    ALL,
    THINGS,
    describe_misclassified,
    grouped_flows,
    name_small,
    tabulate_misclassified,
)
from trainable.data.image_set import LabelClass

CLASSES = (
    LabelClass("road", (0, 0, 0), False),
    LabelClass("person", (1, 0, 0), True),
    LabelClass("plant", (2, 0, 0), False),
    LabelClass("bike", (3, 0, 0), True),
)
MATRIX = np.array([[9000, 0, 900, 4], [30, 60, 10, 0], [53, 0, 1000, 0], [3, 0, 0, 7]])


def test_flows_leave_the_diagonal_out():
    frame = tabulate_misclassified(MATRIX, CLASSES)
    everything = frame[frame["panel"] == ALL]
    assert everything["pixels"].sum() == 1000
    assert everything["share"].tolist() == [0.9, 0.004, 0.03, 0.01, 0.053, 0.003]
    assert (everything["true"] != everything["predicted"]).all()


def test_things_have_a_panel_of_their_own():
    frame = tabulate_misclassified(MATRIX, CLASSES)
    things = frame[frame["panel"] == THINGS]
    assert things[["true", "predicted", "pixels"]].to_numpy().tolist() == [
        ["person", "road", 30],
        ["person", "plant", 10],
        ["bike", "road", 3],
    ]
    assert things["share"].sum() == pytest.approx(1)


def test_small_classes_of_a_side_are_drawn_together():
    names = pd.Series(["a", "b", "c", "d", "b"])
    shares = pd.Series([0.98, 0.003, 0.008, 0.003, 0.006])
    assert name_small(names, shares).tolist() == ["a", *["other (3 classes)"] * 4]
    assert name_small(names, shares, least=0.0085).tolist() == ["a", "b", "other (2 classes)", "other (2 classes)", "b"]


def test_one_small_class_keeps_its_name():
    assert name_small(pd.Series(["a", "b"]), pd.Series([0.999, 0.001])).tolist() == ["a", "b"]


def test_grouping_keeps_every_pixel():
    classes = [LabelClass(f"c{place}", (0, 0, 0), False) for place in range(30)]
    matrix = np.random.default_rng(5).integers(1, 5, (30, 30)) * np.arange(1, 31)[:, None] ** 3
    frame = tabulate_misclassified(matrix, classes)
    grouped = grouped_flows(frame)
    assert grouped["pixels"].sum() == matrix.sum() - matrix.trace()
    assert any(name.startswith("other (") for name in grouped["drawn_true"])


def test_flows_in_words():
    things = np.array([False, True, False, True])
    assert describe_misclassified(tabulate_misclassified(MATRIX, CLASSES), MATRIX, things, "dev") == (
        "9.0 % of the 11,067 dev pixels are misclassified; the largest flow is road taken for plant (90.0 % of them). "
        "Things are 0.99 % of the pixels and 4.3 % of the misclassified ones; 39 % of theirs are misclassified, mostly "
        "as road (77 %) and plant (23 %)."
    )


@pytest.mark.parametrize("matrix", [np.diag([1, 2, 3, 4]), np.zeros((4, 4), dtype=np.int64)])
def test_nothing_misclassified_says_nothing(matrix):
    frame = tabulate_misclassified(matrix, CLASSES)
    assert frame.empty
    assert describe_misclassified(frame, matrix, np.zeros(4, bool), "dev") == ""


def test_labels_are_spread_no_more_than_they_must():
    assert spread([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread([0.99, 1.0], 0.1) == pytest.approx([0.85, 0.95])
    assert spread([0.0, 0.0, 0.7], 0.2) == pytest.approx([0.1, 0.3, 0.7])
    assert spread([0.2] * 4, 0.5) == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert spread([], 0.1) == []
