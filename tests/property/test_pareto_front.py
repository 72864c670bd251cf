"""The front of the best trade-offs, against its definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainable.measure.pareto_front import non_dominated

# Few distinct values, so that there are ties.
POINTS = st.tuples(st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.sampled_from([-1.5, 0.0, 0.25, 0.5, 1.0]))
)


def beats(one, other):
    pairs = list(zip(one, other, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@given(POINTS)
def test_the_front_is_what_no_point_beats(points):
    assert non_dominated(points).tolist() == [not any(beats(other, point) for other in points) for point in points]
