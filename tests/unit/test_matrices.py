"""Confusion matrices as tables and sentences."""

import numpy as np
import pytest

from analysis.subjects.confusion.table import (
    describe_confusion,
    describe_matrix_difference,
    row_shares,
    tabulate_confusion,
    tabulate_matrix_difference,
)
from trainable.data.image_set import LabelClass

CLASSES = (
    LabelClass("road", (0, 0, 0), False),
    LabelClass("person", (1, 0, 0), True),
    LabelClass("plant", (2, 0, 0), False),
)
BEST = np.array([[880, 20, 100], [4, 60, 36], [50, 0, 450]])
BASELINE = np.array([[980, 0, 20], [70, 20, 10], [90, 10, 400]])


def test_rows_are_shares_of_true_pixels():
    shares = row_shares(np.array([[3, 1], [0, 0]]))
    assert shares[0].tolist() == [0.75, 0.25]
    assert np.isnan(shares[1]).all()


def test_the_table_goes_row_by_row():
    frame = tabulate_confusion(BEST, CLASSES)
    row = frame[(frame["true"] == "person") & (frame["predicted"] == "plant")].iloc[0]
    assert (row["pixels"], row["true_pixels"], row["share"]) == (36, 100, 0.36)
    assert (row["true_thing"], row["predicted_thing"]) == (True, False)
    assert frame["pixels"].to_numpy().reshape(3, 3).tolist() == BEST.tolist()


def test_a_matrix_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"row and a column for each class; got \(3, 3\) for 2"):
        tabulate_confusion(BEST, CLASSES[:2])


def test_confusions_of_things_are_named_first():
    assert describe_confusion(tabulate_confusion(BASELINE, CLASSES), "dev") == (
        "On dev, the largest confusions of thing classes: 70 % of the person pixels are taken for road (70 of 100; "
        "20 % are found)."
    )


def test_without_things_stuff_is_named():
    stuff = [LabelClass(entry.name, entry.color, False) for entry in CLASSES]
    said = describe_confusion(tabulate_confusion(BASELINE, stuff), "val")
    assert said.startswith("On val, the largest confusions of classes: 70 % of the person pixels are taken for road")
    assert said.endswith("and 18 % of the plant pixels are taken for road (90 of 500; 80 % are found).")


@pytest.mark.parametrize("matrix", [np.diag([5, 0, 7]), np.zeros((3, 3), dtype=np.int64)])
def test_nothing_confused_says_nothing(matrix):
    assert describe_confusion(tabulate_confusion(matrix, CLASSES), "dev") == ""


def test_the_difference_names_repairs_and_damage():
    frame = tabulate_matrix_difference(BEST, BASELINE, CLASSES)
    row = frame[(frame["true"] == "person") & (frame["predicted"] == "road")].iloc[0]
    assert row["difference"] == pytest.approx(-0.66)
    assert describe_matrix_difference(frame, "t0004", "t0000") == (
        "On dev, t0004 against t0000, one training run each: largest repairs: person taken for road fell from 70 % to "
        "4.0 % of person pixels (-66 pixels; found: 20 % to 60 %). Largest new damage: road taken for plant rose from "
        "2.0 % to 10 % of road pixels (+80 pixels; found: 98.0 % to 88 %); road taken for person rose from 0 % to "
        "2.0 % of road pixels (+20 pixels; found: 98.0 % to 88 %)."
    )


def test_moving_from_one_wrong_class_to_another_is_neither():
    """Person is taken for plant instead of road, and none more is found."""
    moved = np.array([[980, 0, 20], [10, 20, 70], [90, 10, 400]])
    assert describe_matrix_difference(tabulate_matrix_difference(moved, BASELINE, CLASSES), "a", "b") == ""


def test_stuff_newly_taken_for_a_thing_is_named_in_pixels():
    """9 of 10,000 pixels are no point of road, but nine hundredths of all persons."""
    one, other = np.array([[10_000, 0], [50, 50]]), np.array([[9_991, 9], [20, 80]])
    frame = tabulate_matrix_difference(other, one, CLASSES[:2])
    assert describe_matrix_difference(frame, "a", "b").endswith(
        "Largest new damage: 9 more road pixels taken for person, which has 100 true pixels."
    )


def test_equal_matrices_say_nothing():
    assert describe_matrix_difference(tabulate_matrix_difference(BEST, BEST, CLASSES), "a", "b") == ""


@pytest.mark.parametrize("things", [(True, True), (False, False), (True, False)])
def test_any_kinds_of_classes_can_be_described(things):
    classes = [LabelClass(str(place), (0, 0, 0), thing) for place, thing in enumerate(things)]
    frame = tabulate_matrix_difference(np.array([[8, 2], [0, 5]]), np.array([[1, 9], [4, 1]]), classes)
    assert "1 taken for 0 fell from 80 % to 0 %" in describe_matrix_difference(frame, "a", "b") or things == (
        True,
        False,
    )


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        tabulate_matrix_difference(BEST, 2 * BASELINE, CLASSES)
