"""The sampler as a function of what is known."""

from functools import partial

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.decide.sampler import (
    MAX_OBSERVATIONS,
    Observation,
    _limited,
    _limited_by_front,
    directions,
    frozen_trial,
    frozen_trial_of_several,
    suggest_point,
    worst_values,
)
from search.space.space import suggest
from search.space.space_parsing import parse_space
from trainable.record.record_types import EpochRecord, TrialSnapshot, TrialSpec

SPACE = parse_space(
    {
        "model": {"architecture": ["unet", "deeplabv3"]},
        "loss": {
            "name": ["cross_entropy", "focal", "tversky"],
            "alpha": {"low": 0.1, "high": 1.0},
            "beta": {"low": 0.1, "high": 1.0},
            "focal_gamma": {"low": 0.25, "high": 3.0},
        },
        "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    }
)


def observed(number, value, state="completed"):
    point = suggest_point(SPACE, [], seed=99, number=number)
    return Observation(SPACE.searched(point), state, (value / 2, value))


def test_the_same_knowledge_gives_the_same_point():
    known = [observed(number, number / 30) for number in range(20)]
    assert suggest_point(SPACE, known, 0, 20) == suggest_point(SPACE, known, 0, 20)


def test_each_number_and_each_seed_has_its_own_random_numbers():
    points = [suggest_point(SPACE, [], seed, number) for seed in (0, 1) for number in range(5)]
    rates = {point["optimizer.learning_rate"] for point in points}
    assert len(rates) == len(points)


def test_a_point_has_a_losss_parameters_only_under_that_loss():
    for number in range(40):
        point = suggest_point(SPACE, [], 0, number)
        assert ("loss.alpha" in point) == (point["loss.name"] == "tversky")
        assert ("loss.beta" in point) == (point["loss.name"] == "tversky")
        assert ("loss.focal_gamma" in point) == (point["loss.name"] == "focal")


def test_it_learns_where_the_objective_is_high():
    known = []
    for number in range(60):
        point = suggest_point(SPACE, known, 3, number)
        value = 0.8 if point["loss.name"] == "tversky" else 0.2
        value += 0.1 * point.get("loss.alpha", 0.0)
        known.append(Observation(SPACE.searched(point), "completed", (value,)))
    late = [observation.params["loss.name"] for observation in known[30:]]
    assert late.count("tversky") > 18


@pytest.mark.parametrize(
    ("state", "optuna_state", "value", "is_feasible"),
    [("completed", "COMPLETE", 0.6, True), ("diverged", "PRUNED", None, False), ("pruned", "PRUNED", None, True),
     ("failed", "PRUNED", None, False), ("unfinished", "RUNNING", None, True)],
)  # fmt: skip
def test_every_way_to_end_reaches_optuna(state, optuna_state, value, is_feasible):
    trial = frozen_trial(SPACE, observed(0, 0.6, state))
    assert trial.state.name == optuna_state
    assert (trial.value if trial.state.name == "COMPLETE" else None) == value
    assert trial.intermediate_values == {1: 0.3, 2: 0.6}
    assert (sum(trial.constraints.values()) <= 0) == is_feasible


def violation(state, values, told=frozen_trial):
    return sum(told(SPACE, Observation(observed(0, 0).params, state, values)).constraints.values())


def test_what_came_to_nothing_is_the_worse_the_earlier():
    of_several = partial(violation, told=lambda space, each: frozen_trial_of_several(space, each, (0.0, 1.0)))
    assert of_several("pruned", (0.1, 0.4)) < of_several("pruned", (0.1, 0.3)) < of_several("pruned", (0.9,))
    for told in (violation, of_several):
        order = [told("diverged", (0.1, 0.0)), told("diverged", (0.0,)), told("diverged", ()), told("failed", (0.5,))]
        assert order == sorted(order)
        assert order[0] > of_several("pruned", ())
        assert told("failed", ()) == order[-1] > order[-2]


def test_unfinished_trials_and_trials_without_an_epoch_are_no_obstacle():
    known = [observed(n, 0.5) for n in range(12)]
    known += [Observation(observed(50, 0).params, state, ()) for state in ("unfinished", "pruned", "failed")]
    assert suggest_point(SPACE, known, 0, 15)["loss.name"] in ("cross_entropy", "focal", "tversky")


def test_beyond_the_limit_what_came_to_nothing_takes_no_place_of_the_best():
    """They had reached more than all others before they came to nothing."""
    vain = [Observation({}, ("failed", "diverged", "pruned")[number % 3], (0.9,)) for number in range(300)]
    good = [Observation({}, "completed", (0.5 + number * 1e-6,)) for number in range(100)]
    later = [Observation({}, "completed", (0.1,)) for _ in range(250)]
    assert [each for each in _limited([*good, *vain, *later]) if each in good] == good
    several = [Observation({}, each.state, each.values, (*each.values, 0.5)) for each in (*good, *vain, *later)]
    kept = _limited_by_front(several, TWO, (0.0, 1.0))
    assert [each for each in kept if each in several[: len(good)]] == several[: len(good)]


def test_beyond_the_limit_every_running_trial_stays():
    running = [Observation({}, "unfinished", ()) for _ in range(3)]
    known = [*running, *(Observation({}, "completed", (number * 1e-6,)) for number in range(600))]
    assert _limited(known)[:3] == running
    assert len(_limited(known)) == MAX_OBSERVATIONS


def test_beyond_the_limit_the_best_and_the_latest_stay():
    known = [Observation({}, "completed", (1.0 if number in (3, 7) else number * 1e-6,)) for number in range(2500)]
    kept = _limited(known)
    assert len(kept) == MAX_OBSERVATIONS
    assert known[3] in kept
    assert known[7] in kept
    assert kept[-1] is known[-1]
    assert [known.index(k) for k in kept] == sorted(known.index(k) for k in kept)


TWO = ("miou", "thing_miss_rate")
THREE = ("miou", "thing_miss_rate", "false_alarms_per_image/car")


def observed_two(number, miou, missed, state="completed"):
    return Observation(observed(number, 0).params, state, (miou / 2, miou), (miou, missed))


def test_one_objective_is_suggested_as_optuna_would_by_itself():
    known = [observed(n, n / 30, ("completed", "pruned", "diverged", "unfinished")[n % 4]) for n in range(30)]
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        sampler = optuna.samplers.TPESampler(seed=30, multivariate=True, group=True, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([frozen_trial(SPACE, each) for each in known])
    point = suggest_point(SPACE, known, 0, 30)
    assert point == suggest(study.ask(), SPACE)
    assert suggest_point(SPACE, known, 0, 30, ("recall/car",)) == point, "the name of one objective is no matter"


def test_an_observation_has_every_objective_of_the_best_epoch():
    spec = TrialSpec("t0000", 0, {"loss.name": "focal"}, {}, False, 0)
    epochs = (
        EpochRecord(1, 0, 0.3, 1, {"miou": 0.3, "thing_miss_rate": 0.6}),
        EpochRecord(2, 0, 0.3, 1, {"miou": 0.2, "thing_miss_rate": 0.5}),
    )
    observation = Observation.of(TrialSnapshot(spec, epochs), THREE)
    assert (observation.values, observation.finals) == ((0.3, 0.3), (0.3, 0.6, None))
    assert Observation.of(TrialSnapshot(spec), THREE).finals == ()


@pytest.mark.parametrize(
    ("state", "optuna_state", "values"),
    [("completed", "COMPLETE", [0.6, 0.25]), ("diverged", "PRUNED", None), ("pruned", "PRUNED", None),
     ("failed", "PRUNED", None), ("unfinished", "RUNNING", None)],
)  # fmt: skip
def test_with_several_objectives_only_a_completed_trial_has_values(state, optuna_state, values):
    trial = frozen_trial_of_several(SPACE, observed_two(0, 0.6, 0.25, state), (0.0, 1.0))
    assert (trial.state.name, trial.values, trial.intermediate_values) == (optuna_state, values, {})
    assert (sum(trial.constraints.values()) > 0) == (optuna_state == "PRUNED")


def test_what_was_not_measured_is_told_as_the_worst():
    half = Observation(observed(0, 0).params, "completed", (0.5,), (0.5, None, 3.0))
    assert frozen_trial_of_several(SPACE, half, (0.0, 1.0, 7.0)).values == [0.5, 1.0, 3.0]


def test_the_worst_cannot_look_good():
    def measured(*finals):
        return Observation({}, "completed", (0.5,), finals)

    assert worst_values([], THREE) == (0.0, 1.0, 1000.0)
    assert worst_values([measured(0.5, 0.2, None), Observation({}, "failed", ())], THREE) == (0.0, 1.0, 1000.0)
    assert worst_values([measured(0.5, 0.2, 3.0), measured(0.1, 0.9, 12.5)], THREE) == (0.0, 1.0, 12.5)
    assert worst_values([], ("miou", "miss_rate/car", "recall/false_alarms_per_image")) == (0.0, 1.0, 0.0)


def test_directions_follow_the_names():
    assert directions(("recall/miss_rate", "miss_rate/car", "thing_false_alarms_per_image", "thing_precision")) == [
        "maximize", "minimize", "minimize", "maximize",
    ]  # fmt: skip


def test_several_objectives_suggest_the_same_from_the_same_and_bear_every_state():
    states = ("completed", "pruned", "diverged", "failed", "unfinished")
    known = [observed_two(n, n / 60, 1 - n / 50, states[n % 5]) for n in range(40)]
    known += [Observation(observed(50, 0).params, state, ()) for state in ("unfinished", "pruned", "failed")]
    points = [suggest_point(SPACE, known, 0, number, TWO) for number in (43, 44, 45)]
    assert points == [suggest_point(SPACE, known, 0, number, TWO) for number in (43, 44, 45)]
    grows = ("miou", "thing_recall")
    assert points != [suggest_point(SPACE, known, 0, number, grows) for number in (43, 44, 45)]


def test_it_learns_what_trades_off_best():
    """cross_entropy is beaten everywhere; focal misses little, tversky segments well."""
    reached = {"cross_entropy": (0.2, 0.8), "focal": (0.3, 0.1), "tversky": (0.7, 0.5)}
    known = []
    for number in range(60):
        point = suggest_point(SPACE, known, 3, number, TWO)
        miou, missed = reached[point["loss.name"]]
        finals = (miou + number * 1e-5, missed)
        known.append(Observation(SPACE.searched(point), "completed", finals[:1], finals))
    late = [observation.params["loss.name"] for observation in known[30:]]
    assert late.count("cross_entropy") < 6
    assert late.count("focal") > 3
    assert late.count("tversky") > 3


def test_optuna_still_stumbles_over_pruned_trials_of_several_objectives():
    """Why they are told with a violated constraint: when this fails, they may be told with what they reached."""
    study = optuna.create_study(directions=directions(TWO), sampler=optuna.samplers.TPESampler(n_startup_trials=0))
    distribution = {"x": optuna.distributions.FloatDistribution(0, 1)}
    for x in (0.2, 0.4):
        study.add_trial(
            create_trial(
                state=TrialState.PRUNED, params={"x": x}, distributions=distribution, intermediate_values={1: 0.5}
            )
        )
    with pytest.raises(RuntimeError, match="multi-objective"):
        study.ask().suggest_float("x", 0, 1)


def test_beyond_the_limit_the_front_and_the_latest_stay():
    known = [Observation({}, "completed", (0.5,), (0.5 - number * 1e-6, 0.5)) for number in range(2500)]
    known[3] = Observation({}, "completed", (0.01,), (0.01, 0.1))  # the worst of all by the first objective
    kept = _limited_by_front(known, TWO, (0.0, 1.0))
    assert len(kept) == MAX_OBSERVATIONS
    assert known[3] in kept
    assert known[0] in kept
    assert kept[-1] is known[-1]
    assert _limited_by_front(known[:20], TWO, (0.0, 1.0)) == known[:20]
