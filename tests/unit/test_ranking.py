"""What is better than what."""

import random

import pytest

from search.decide.ranking import measured_values, non_dominated, objective_values, pareto_front, ranked
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, trial_name

TWO = ("miou", "thing_miss_rate")


def trial(number, objective=None, state="completed", **metrics):
    """A trial of two epochs whose best is the first, where `metrics` were measured."""
    epochs = ()
    if objective is not None:
        worse = dict.fromkeys(metrics, 0.123)
        epochs = (EpochRecord(1, 0, objective, 1, metrics), EpochRecord(2, 0, objective, 1, worse))
    end = None if state == "unfinished" else EndMarker(state, "", 0, 1, epochs)
    return TrialSnapshot(TrialSpec(trial_name(number), number, {}, {}, False, 0), epochs, end)


def test_the_first_objective_ranks_and_the_earlier_of_equals_is_the_better():
    trials = [trial(3, 0.5), trial(0, 0.2), trial(1, 0.5, "pruned"), trial(2, 0.4, "unfinished")]
    assert [each.spec.number for each in ranked(trials)] == [1, 3, 2, 0]


@pytest.mark.parametrize("unranked", [trial(0, 0.9, "failed"), trial(0, 0.9, "diverged"), trial(0, state="unfinished")])
def test_what_failed_diverged_or_has_only_begun_is_passed_over(unranked):
    assert [each.spec.number for each in ranked([unranked, trial(1, 0.0)])] == [1]


def test_the_values_are_the_first_objective_and_the_others_at_its_best_epoch():
    each = trial(0, 0.6, miou=0.5, thing_miss_rate=0.25, thing_recall=0.75)
    assert objective_values(each, ("miou", "thing_recall", "thing_miss_rate")) == (0.6, 0.75, 0.25)


def test_a_recall_that_was_not_measured_is_zero_and_a_miss_rate_cannot_be_compared():
    each = trial(0, 0.6)
    assert measured_values(each, ("miou", "recall/car")) == (0.6, None)
    assert objective_values(each, ("miou", "recall/car")) == (0.6, 0.0)
    assert objective_values(each, TWO) is None
    assert objective_values(trial(0, state="failed"), TWO) is None


def test_the_front_is_what_nobody_beats_in_one_objective_without_losing_in_another():
    trials = [
        trial(0, 0.50, thing_miss_rate=0.30),
        trial(1, 0.40, thing_miss_rate=0.10),
        trial(2, 0.45, thing_miss_rate=0.35),  # trial 0 is better in both
        trial(3, 0.40, thing_miss_rate=0.20),  # trial 1 misses less
        trial(4, 0.40, thing_miss_rate=0.10),  # as good as trial 1
        trial(5, 0.60),  # nobody knows what it misses
    ]
    assert pareto_front(trials, TWO) == {"t0000", "t0001", "t0004"}
    assert pareto_front(trials, ("miou", "thing_recall")) == {"t0005"}
    assert pareto_front([], TWO) == set()


@pytest.mark.parametrize("state", ["pruned", "failed", "diverged", "unfinished"])
def test_only_trials_of_full_length_are_on_the_front(state):
    """A network that does not find anything yet has no false alarms either."""
    objectives = ("miou", "thing_false_alarms_per_image")
    short = trial(0, 0.1, state, thing_false_alarms_per_image=0.0)
    full = trial(1, 0.5, thing_false_alarms_per_image=3.0)
    assert pareto_front([short, full], objectives) == {"t0001"}


@pytest.mark.parametrize("names", [("miou",), TWO, ("miou", "thing_miss_rate", "recall/car")])
@pytest.mark.parametrize("levels", [3, 1000])  # with and without equal values
def test_the_front_agrees_with_the_definition(names, levels):
    draw = random.Random(levels)
    rows = [[draw.randrange(levels) / levels for _ in names] for _ in range(60)]

    def gains(row):
        return [-value if name == "thing_miss_rate" else value for name, value in zip(names, row, strict=True)]

    def beats(one, other):
        pairs = list(zip(gains(one), gains(other), strict=True))
        return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)

    assert non_dominated(rows, names) == [not any(beats(other, row) for other in rows) for row in rows]
