"""What the sampler makes of trials that came to nothing: how often it suggests their place again."""

import random
from functools import cache

import pytest

from search.decide.sampler import Observation, Sampler
from search.space.space_parsing import parse_space

NETWORKS = ["unet", "fpn", "linknet"]
SPACE = parse_space(
    {
        "model": {"architecture": NETWORKS},
        "data": {"rare_class_first": {"low": 0.0, "high": 1.0}, "copy_paste": {"low": 0.0, "high": 1.0}},
    }
)
HALF, NETWORK = "half of a range", "a network"
SEEDS, RANDOM, ASKED = 3, 20, 25


def is_bad(place, params):
    return params["data.rare_class_first"] > 0.5 if place == HALF else params["model.architecture"] == "unet"


def is_good(params):
    return params["data.copy_paste"] > 0.6


def nothing(number, state, params, objectives):
    """A trial of the bad place: one that was stopped had found nothing, and so had no false alarms."""
    reached = 0.0 if state == "diverged" else 0.02
    values = () if state == "failed" else (reached,)
    return Observation(params, state, values, (reached, 0.0)[: len(objectives)] if values else (), str(number))


def something(number, params, objectives, rng):
    """A trial elsewhere, the better the more is pasted: of ten one is completed, the others are stopped."""
    reached, false_alarms = 0.3 + 0.3 * params["data.copy_paste"], 5 + 5 * rng.random()
    epochs, state = (3, "completed") if number % 10 == 0 else (1, "pruned")
    return Observation(params, state, (reached,) * epochs, (reached, false_alarms)[: len(objectives)], str(number))


def result(number, state, place, params, objectives, rng):
    if is_bad(place, params):
        return nothing(number, state, params, objectives)
    return something(number, params, objectives, rng)


@cache
def shares(state, place, objectives):
    """Of what is suggested after twenty trials at random: the share in the bad place, and in the good one."""
    bad = good = 0
    for seed in range(SEEDS):
        rng = random.Random(seed)
        known = []
        sampler = Sampler(SPACE, seed, objectives)
        for number in range(RANDOM + ASKED):
            if number < RANDOM:
                params = {
                    "model.architecture": rng.choice(NETWORKS),
                    "data.rare_class_first": rng.random(),
                    "data.copy_paste": rng.random(),
                }
            else:
                params = sampler.point(known, number)
                bad += is_bad(place, params)
                good += is_good(params)
            known.append(result(number, state, place, params, objectives, rng))
    return bad / (SEEDS * ASKED), good / (SEEDS * ASKED)


ONE, SEVERAL = ("miou",), ("miou", "thing_false_alarms_per_image")
CASES = pytest.mark.parametrize(
    ("state", "place", "objectives"),
    [
        ("failed", HALF, ONE),
        ("failed", HALF, SEVERAL),
        ("failed", NETWORK, ONE),
        ("diverged", HALF, ONE),
        ("diverged", HALF, SEVERAL),
        ("diverged", NETWORK, ONE),
        ("pruned", HALF, SEVERAL),
        ("pruned", NETWORK, SEVERAL),
    ],
    ids=lambda value: f"{len(value)} objectives" if isinstance(value, tuple) else value,
)


@CASES
def test_where_trials_come_to_nothing_few_others_are_suggested(state, place, objectives):
    """At random a half of them would be, or a third."""
    assert shares(state, place, objectives)[0] <= 0.15


@CASES
def test_where_trials_are_good_most_others_are_suggested(state, place, objectives):
    """At random 0.4 of them would be."""
    assert shares(state, place, objectives)[1] >= 0.55
