"""The expected best against all draws of small groups."""

import itertools
import statistics

import pytest

from analysis.expected_best import expected_best

VALUES = [0.31, 0.62, 0.62, 0.05, 0.44]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize(("minimised", "best"), [(False, max), (True, min)])
def test_every_draw_counted(n, minimised, best):
    bests = [best(draw) for draw in itertools.product(VALUES, repeat=n)]
    mean, std = expected_best(VALUES, n, minimised=minimised)
    assert mean == pytest.approx(statistics.mean(bests), rel=1e-12)
    assert std == pytest.approx(statistics.pstdev(bests), rel=1e-12)
