"""The front of the best trade-offs, against its definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.trade_off import non_dominated

# Few distinct values, so that there are ties.
POINTS = st.tuples(st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0]))
)


def beats(one, other, directions):
    pairs = [(a, b) if up else (b, a) for a, b, up in zip(one, other, directions, strict=True)]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@given(POINTS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_the_front_is_what_no_point_beats(points, directions):
    directions = directions[: points.shape[1]]
    expected = [not any(beats(other, point, directions) for other in points) for point in points]
    assert non_dominated(points, directions).tolist() == expected


@given(POINTS)
def test_some_point_is_on_the_front_and_the_other_direction_is_the_negative(points):
    up, down = [True] * points.shape[1], [False] * points.shape[1]
    front = non_dominated(points, up)
    assert front.any()
    assert front.tolist() == non_dominated(-points, down).tolist()
