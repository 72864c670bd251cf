"""ASHA's rule, and that it is Ray's."""

import random

import pytest
from ray.tune.schedulers.async_hyperband import _Bracket

from search.decide.rungs import Rungs
from trainable.record.record_types import EpochRecord


def epoch(number, objective):
    return EpochRecord(epoch=number, time_ms=0, objective=objective, best_epoch=number, metrics={})


@pytest.mark.parametrize(
    ("grace", "factor", "max_epochs", "milestones"),
    [(1, 2, 9, (1, 2, 4, 8)), (2, 3, 18, (2, 6)), (10, 3, 30, (10,)), (5, 2, 5, ())],
)
def test_milestones_grow_by_the_factor_and_end_before_max_epochs(grace, factor, max_epochs, milestones):
    assert Rungs(grace, factor, max_epochs).milestones == milestones


def test_between_rungs_every_trial_goes_on():
    rungs = Rungs(2, 2, 8)
    rungs.passes("good", epoch(2, 0.9))
    assert rungs.passes("bad", epoch(1, 0.0))
    assert rungs.passes("bad", epoch(3, 0.0))
    assert not rungs.passes("bad", epoch(2, 0.0))


def test_the_first_trial_at_a_rung_goes_on_and_a_worse_second_does_not():
    rungs = Rungs(1, 3, 9)
    assert rungs.passes("first", epoch(1, 0.1))
    assert not rungs.passes("second", epoch(1, 0.05))
    assert rungs.passes("third", epoch(1, 0.2))


def test_a_trial_is_not_compared_with_itself_when_an_epoch_comes_twice():
    rungs = Rungs(1, 2, 4)
    assert rungs.passes("only", epoch(1, 0.3))
    assert rungs.passes("only", epoch(1, 0.3))


def test_filled_rungs_judge_like_rungs_that_saw_it_happen():
    watched, filled = Rungs(1, 3, 9), Rungs(1, 3, 9)
    for place, value in enumerate([0.5, 0.1, 0.7, 0.3, 0.6]):
        watched.passes(f"t{place}", epoch(1, value))
        filled.fill(f"t{place}", [epoch(1, value)])
    for value in (0.2, 0.55, 0.59, 0.61, 0.9):
        assert watched.passes("new", epoch(1, value)) == filled.passes("new", epoch(1, value))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_decisions_are_those_of_rays_async_hyperband(factor):
    generator = random.Random(factor)
    rungs = Rungs(1, factor, 28)
    bracket = _Bracket(min_t=1, max_t=27, reduction_factor=factor, s=0)
    alive = {f"t{place}": 0.0 for place in range(40)}
    at = dict.fromkeys(alive, 0)
    judged = 0
    while alive:
        trial_id = generator.choice(sorted(alive))
        at[trial_id] += 1
        alive[trial_id] = max(alive[trial_id], generator.random())
        theirs = bracket.on_result(type("Trial", (), {"trial_id": trial_id})(), at[trial_id], alive[trial_id])
        ours = rungs.passes(trial_id, epoch(at[trial_id], alive[trial_id]))
        assert ours == (theirs == "CONTINUE")
        judged += 1
        if not ours or at[trial_id] == 27:
            del alive[trial_id]
    assert judged > 60
