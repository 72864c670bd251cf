"""The sampler as a function of what is known."""

import pytest

from search.sampler import MAX_OBSERVATIONS, Observation, _limited, frozen_trial, suggest_point
from search.space import parse_space

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
    ("state", "optuna_state", "value"),
    [("completed", "COMPLETE", 0.6), ("diverged", "COMPLETE", 0.0), ("pruned", "PRUNED", None),
     ("failed", "FAIL", None), ("unfinished", "RUNNING", None)],
)  # fmt: skip
def test_every_way_to_end_reaches_optuna_as_what_it_is(state, optuna_state, value):
    trial = frozen_trial(SPACE, observed(0, 0.6, state))
    assert trial.state.name == optuna_state
    assert (trial.value if trial.state.name == "COMPLETE" else None) == value
    assert trial.intermediate_values == {1: 0.3, 2: 0.6}


def test_unfinished_trials_and_trials_without_an_epoch_are_no_obstacle():
    known = [observed(n, 0.5) for n in range(12)]
    known += [Observation(observed(50, 0).params, state, ()) for state in ("unfinished", "pruned", "failed")]
    assert suggest_point(SPACE, known, 0, 15)["loss.name"] in ("cross_entropy", "focal", "tversky")


def test_beyond_the_limit_the_best_and_the_latest_stay():
    known = [Observation({}, "completed", (1.0 if number in (3, 7) else number * 1e-6,)) for number in range(2500)]
    kept = _limited(known)
    assert len(kept) == MAX_OBSERVATIONS
    assert known[3] in kept
    assert known[7] in kept
    assert kept[-1] is known[-1]
    assert [known.index(k) for k in kept] == sorted(known.index(k) for k in kept)
