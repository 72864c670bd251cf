"""A score of the best of n by the objective, against all draws of small groups."""

import itertools
import math
import statistics

import numpy as np
import pytest

from analysis.evidence.expected_best import chances_of_best, expected_at_best

OBJECTIVES = [0.31, 0.62, 0.62, 0.05, 0.44]
VALUES = [0.9, 0.1, 0.35, 0.2, 0.05]
"""Not in the order of the objective; the two that are equal there differ here."""


def every_draw(n):
    """The chance of each trial, by all N^n draws; equal ones among those drawn share the draw."""
    chances = np.zeros(len(OBJECTIVES))
    for draw in itertools.product(range(len(OBJECTIVES)), repeat=n):
        best = max(OBJECTIVES[i] for i in draw)
        winners = [i for i in draw if OBJECTIVES[i] == best]
        for winner in winners:
            chances[winner] += 1 / len(winners)
    return chances / len(OBJECTIVES) ** n


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_every_draw_counted(n):
    chances = every_draw(n)
    mean = sum(c * v for c, v in zip(chances, VALUES, strict=True))
    std = math.sqrt(sum(c * (v - mean) ** 2 for c, v in zip(chances, VALUES, strict=True)))
    assert chances_of_best(OBJECTIVES, n) == pytest.approx(chances, rel=1e-12, abs=1e-12)
    assert expected_at_best(OBJECTIVES, VALUES, n) == pytest.approx((mean, std), rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_of_the_objective_itself_it_is_the_best_of_the_draw(n):
    bests = [max(draw) for draw in itertools.product(OBJECTIVES, repeat=n)]
    expected = statistics.mean(bests), statistics.pstdev(bests)
    assert expected_at_best(OBJECTIVES, OBJECTIVES, n) == pytest.approx(expected, rel=1e-12)
