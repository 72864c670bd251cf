"""The learning rate: up in a line, down in half a cosine."""

import math

import pytest

from trainable.schedule import learning_rate_factor


def factors(warmup_steps, total_steps):
    return [learning_rate_factor(step, warmup_steps, total_steps) for step in range(total_steps)]


def test_without_warmup_it_is_half_a_cosine():
    expected = [0.5 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    assert factors(0, 8) == pytest.approx(expected)
    assert factors(0, 8)[0] == 1


def test_warmup_rises_in_equal_steps_to_the_peak():
    assert factors(4, 20)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_the_cosine_after_the_warmup_takes_the_rest():
    expected = [0.5 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    assert factors(4, 20)[4:] == pytest.approx(expected)


def test_the_cosine_is_at_its_half_half_way():
    assert learning_rate_factor(12, 4, 20) == pytest.approx(0.5)


@pytest.mark.parametrize("warmup_steps", [0, 0.5, 1, 2.5, 7])
@pytest.mark.parametrize("total_steps", [8, 50])
def test_every_step_learns_and_none_exceeds_the_peak(warmup_steps, total_steps):
    values = factors(warmup_steps, total_steps)
    assert all(0 < value <= 1 for value in values)
    peak = values.index(max(values))
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert peak == math.ceil(warmup_steps)


def test_one_step_in_all_is_at_the_peak():
    assert factors(0, 1) == [1]


def test_it_ends_at_zero_and_stays_there():
    assert learning_rate_factor(20, 4, 20) == pytest.approx(0)
    assert learning_rate_factor(25, 4, 20) == pytest.approx(0)
