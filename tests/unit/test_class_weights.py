"""Weights of the classes: rarer is heavier, within a bound, and the loss keeps its scale."""

import numpy as np
import pytest

from trainable.losses.class_weights import MAX_RATIO, class_weights

COUNTS = np.array([6000, 400, 25, 90_000], dtype=np.int64)


def test_inverse_frequency_by_hand():
    # raw: 90000 / n = 15, 225 (capped at 100), 3600 (capped), 1; their pixel-weighted sum is 222500 of 96425 pixels
    raw = [15.0, 100.0, 100.0, 1.0]
    assert class_weights(COUNTS, 1.0) == pytest.approx([weight * 96_425 / 222_500 for weight in raw], rel=1e-12)


def test_square_root_by_hand():
    counts = np.array([400, 100, 25], dtype=np.int64)  # raw 1, 2, 4; sum 700 of 525 pixels
    assert class_weights(counts, 0.5) == pytest.approx([0.75, 1.5, 3.0], rel=1e-12)


def test_power_0_weighs_nothing():
    assert class_weights(COUNTS, 0.0) is None


@pytest.mark.parametrize("power", [0.1, 0.5, 1.0])
def test_the_mean_over_pixels_is_1(power):
    assert np.average(class_weights(COUNTS, power), weights=COUNTS) == pytest.approx(1.0, rel=1e-12)


def test_no_class_weighs_more_than_the_bound():
    weights = class_weights(np.array([10**9, 1, 50], dtype=np.int64), 1.0)
    assert max(weights) / min(weights) == pytest.approx(MAX_RATIO)
    assert weights[1] == weights[2]


def test_a_class_that_train_does_not_have_weighs_as_the_most_frequent_and_moves_no_other():
    weights = class_weights(np.array([400, 0, 100, 25], dtype=np.int64), 0.5)
    assert weights == pytest.approx([0.75, 0.75, 1.5, 3.0], rel=1e-12)


def test_without_any_pixel_there_is_nothing_to_weigh():
    assert class_weights(np.zeros(3, dtype=np.int64), 0.5) is None
