"""The front of the best trade-offs, by hand."""

import math

import numpy as np
import pytest

from trainable.measure.pareto_front import non_dominated


def test_a_front_by_hand():
    points = np.array([(0.8, 0.2), (0.5, 0.5), (0.5, 0.5), (0.4, 0.5), (0.2, 0.9), (0.1, 0.9)])
    assert non_dominated(points).tolist() == [True, True, True, False, True, False]
    assert non_dominated(-points).tolist() == [True, False, False, True, False, True]
    assert non_dominated(np.zeros((0, 2))).tolist() == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_front_of_what_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match="a front needs finite values"):
        non_dominated([(0.1, value)])
