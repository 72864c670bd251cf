"""What is done at each trial does not grow with the trials that have ended, and comes to the same."""

import sys
from dataclasses import replace

import pytest

from search.config.search_config import ConfirmConfig
from search.decide.confirm_plan import chosen_ids
from search.decide.sampler import Observation, Sampler, suggest_point
from search.project.background_projection import BackgroundProjection
from search.project.retention import Retention
from search.space.space_parsing import parse_space
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, trial_name
from trainable.record.storage import Storage

SPACE = parse_space(
    {
        "loss": {"name": ["dice", "tversky"], "alpha": {"low": 0.1, "high": 1.0}, "beta": {"low": 0.1, "high": 1.0}},
        "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    }
)
SEVERAL = ("miou", "thing_miss_rate", "false_alarms_per_image/car")
REASONS = ("diverged", "completed", "pruned", "failed")


def suggested(number, point):
    return TrialSnapshot(TrialSpec(trial_name(number), number, SPACE.searched(point), {}, False, 0))


def with_epochs(trial, number):
    """Two epochs; the first trial has the fewest false alarms, so that the worst that has been seen changes."""
    false_alarms = {0: {"false_alarms_per_image/car": 10.0}, 1: {}}
    metrics = {"thing_miss_rate": 1 - number / 40} | false_alarms.get(number, {"false_alarms_per_image/car": 50.0})
    epochs = tuple(EpochRecord(epoch, 0, 0.01 * number + 0.1 * epoch, epoch, metrics) for epoch in (1, 2))
    return replace(trial, epochs=epochs)


def ended(trial, number):
    return replace(trial, end=EndMarker(REASONS[number % 4], "", 0, 1, trial.epochs))


@pytest.mark.parametrize("objectives", [("miou",), SEVERAL], ids=["one", "several"])
def test_each_suggestion_is_that_of_a_sampler_without_a_past(objectives):
    sampler = Sampler(SPACE, 7, objectives)
    trials = {}
    for number in range(36):
        point = sampler.next_point(trials.values(), len(trials))
        known = [Observation.of(trial, objectives) for trial in trials.values()]
        assert point == suggest_point(SPACE, known, 7, number, objectives)
        trials[number] = suggested(number, point)
        # Two run at any time: of one nothing is known yet, the other has come half-way.
        if number >= 1:
            trials[number - 1] = with_epochs(trials[number - 1], number - 1)
        if number >= 2:
            trials[number - 2] = ended(trials[number - 2], number - 2)


def test_what_optuna_is_told_of_an_ended_trial_is_made_once():
    sampler = Sampler(SPACE, 0)
    trials = [suggested(number, suggest_point(SPACE, [], 0, number)) for number in range(3)]
    trials = [ended(with_epochs(trials[0], 0), 0), ended(with_epochs(trials[1], 1), 1), with_epochs(trials[2], 2)]
    sampler.next_point(trials, len(trials))
    before = dict(sampler._told)
    assert set(before) == {"t0000", "t0001"}
    sampler.next_point([*trials[:2], ended(trials[2], 2)], 3)
    assert all(sampler._told[trial_id] is told for trial_id, told in before.items())


def test_keepers_are_chosen_among_the_keepers_so_far(tmp_path):
    asked = []

    def keeps(trials):
        asked.append([trial.spec.trial_id for trial in trials])
        return chosen_ids(trials, ConfirmConfig(top=2, best_of_each_loss=False))

    retention = Retention(Storage(str(tmp_path)), keeps)
    for number in range(8):
        retention.project(ended(with_epochs(suggested(number, {}), number), number))
    assert sorted(asked[-1]) == ["t0005", "t0006", "t0007"]


class Nothing:
    """A projection of nothing."""

    name = "nothing"

    def project(self, trial):
        """Nothing."""


def test_a_projection_that_computes_hands_on_the_interpreter_at_once():
    """The driver's loop waits for Ray at every turn: by itself it would wait 5 ms more each time it wakes up."""
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)
        BackgroundProjection(Nothing(), print).close(1)
        assert sys.getswitchinterval() < 0.001
    finally:
        sys.setswitchinterval(before)
