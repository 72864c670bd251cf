"""The points of a space: which are the same, how many there are, and what is drawn of those that are left."""

import math
import sys
from itertools import pairwise

import pytest
from optuna.trial import FixedTrial

from search.config.search_config import SearchConfig
from search.decide.sampler import Observation, Sampler, suggest_point
from search.decide.search_plan import trial_config
from search.decide.untried import UntriedPoints
from search.space.points import SpacePoints, config_identity, point_identity
from search.space.space import nested, suggest
from search.space.space_parsing import parse_space
from trainable.errors import InputError

RANGE = {"low": 0.1, "high": 1.0}


@pytest.mark.parametrize(
    ("sections", "count"),
    [
        ({}, 1),
        ({"loss": {"name": "dice"}, "model": {"architecture": ["unet"]}}, 1),
        ({"model": {"architecture": ["unet", "fpn"], "encoder": ["resnet18", "resnet34"]}}, 4),
        ({"model": {"architecture": ["unet", "fpn", "deeplabv3"], "output_stride": [8, 16]}}, 4),
        ({"model": {"output_stride": [8, 16]}}, 2),
        ({"model": {"architecture": "unet", "output_stride": [8, 16]}}, 1),
        (
            {
                "model": {
                    "architecture": ["unet", "deeplabv3"],
                    "encoder": ["resnet18", "resnet34"],
                    "output_stride": [8, 16],
                    "exclude": [{"architecture": "deeplabv3", "output_stride": 8}, {"encoder": "resnet18"}],
                }
            },
            2,
        ),
        ({"data": {"batch_size": {"low": 2, "high": 8}, "horizontal_flip": [True, False]}}, 14),
        ({"data": {"batch_size": {"low": 2, "high": 8, "log": True}}}, 7),
        ({"data": {"batch_size": {"low": 1, "high": 10**30}}}, 10**30),
        ({"optimizer": {"learning_rate": RANGE | {"log": True}}}, math.inf),
        ({"loss": {"name": ["dice", "tversky"], "alpha": [0.3, 0.7], "beta": 0.5}}, 3),
        ({"loss": {"name": ["dice", "tversky"], "alpha": RANGE, "beta": 0.5}}, math.inf),
        (
            {
                "loss": {
                    "name": ["dice", "compound"],
                    "pixel": ["cross_entropy", "focal"],
                    "region": ["iou", "dice", "tversky"],
                    "focal_gamma": [1, 2],
                    "alpha": [0.3, 0.5, 0.7],
                    "beta": 0.5,
                }
            },
            1 + (1 + 2) * (1 + 1 + 3),
        ),
    ],
)
def test_points_are_counted_where_their_parameters_exist(sections, count):
    space = parse_space(sections)
    points = SpacePoints(space)
    assert points.count == count
    if count < 100:
        listed = points.left(())
        assert len(listed) == count
        searched = [space.searched(point) for point in listed]
        assert [suggest(FixedTrial(params), space) for params in searched] == listed


def identity(**sections):
    return config_identity(sections)


def test_two_configs_are_the_same_point_when_they_train_the_same():
    unet = {"architecture": "unet"}
    assert identity(model=unet) == identity(model=unet | {"output_stride": 8}), "of a network without a stride"
    assert identity(model=unet) == identity(model=unet | {"encoder": "resnet34"}), "the default"
    assert identity(model=unet) == identity(model=unet, dataset={"root": "/elsewhere"}, runtime={"compile": True})
    assert identity(loss={"name": "tversky", "alpha": 1, "beta": 0.3}) == identity(
        loss={"name": "tversky", "alpha": 1.0, "beta": 0.3, "gamma": 1.0, "gamma_on": "class"}
    )


def test_two_configs_are_different_points_when_anything_differs_that_is_trained():
    different = [
        identity(),
        identity(model={"architecture": "deeplabv3"}),
        identity(model={"architecture": "deeplabv3", "output_stride": 8}),
        identity(loss={"name": "dice"}),
        identity(optimizer={"learning_rate": 0.01}),
        identity(data={"batch_size": 4}),
        identity(data={"horizontal_flip": False}),
        identity(data={"a_key_that_no_longer_exists": 1}),
    ]
    assert len(set(different)) == len(different)


def test_a_point_is_the_same_as_the_trial_that_was_made_of_it():
    space = {
        "model": {"architecture": ["unet", "deeplabv3"], "output_stride": [8, 16]},
        "loss": {"name": ["dice", "tversky"], "alpha": RANGE, "beta": RANGE},
        "data": {"batch_size": {"low": 2, "high": 8}},
    }
    config = SearchConfig.model_validate({"name": "x", "dataset": {"layout": "synthetic"}, "space": space})
    for number in range(20):
        point = suggest_point(config.parsed_space, [], 0, number)
        recorded = trial_config(config, point).model_dump(mode="json")
        assert config_identity(recorded) == point_identity(point)


OWN = """
from torch import nn


class Bare(nn.Module):
    def __init__(self, num_classes):
        super().__init__()


class Encoded(nn.Module):
    def __init__(self, num_classes, encoder, output_stride):
        super().__init__()
"""


def test_a_network_of_the_users_own_is_searched_with_what_it_takes(tmp_path, monkeypatch):
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    model = {
        "architecture": ["own_networks:Bare", "own_networks:Encoded", "unet"],
        "encoder": ["resnet18", "resnet34"],
        "encoder_weights": "none",
        "output_stride": [8, 16],
    }
    points = SpacePoints(parse_space({"model": model}))
    assert points.count == len(points.left(())) == 1 + 2 * 2 + 2
    (bare,) = [point for point in points.left(()) if point["model.architecture"] == "own_networks:Bare"]
    assert bare == {"model.architecture": "own_networks:Bare", "model.encoder_weights": "none"}, "what is fixed is told"
    older = nested(bare | {"model.encoder": "resnet18", "model.output_stride": 8})
    assert config_identity(older) == point_identity(bare), "as it was recorded when all of it was searched"
    assert "own_networks" in sys.modules
    unknown = SpacePoints(parse_space({"model": model | {"architecture": ["no_such_module:Net", "unet"]}}))
    assert unknown.count == 2 * 2 + 2, "that it cannot be had is said before a search starts"


MIXED = parse_space(
    {
        "loss": {"name": ["dice", "iou", "cross_entropy", "tversky"], "alpha": RANGE, "beta": 0.5},
    }
)
FINITE = parse_space({"model": {"architecture": ["unet", "fpn"], "encoder": ["resnet18", "resnet34", "resnet50"]}})
LARGE = parse_space({"data": {"batch_size": {"low": 1, "high": 40}, "crops_per_image": {"low": 1, "high": 40}}})


def draw_all(space, number):
    drawn, tried = [], set()
    for seed in range(number):
        drawn.append(UntriedPoints(space).draw(tried, seed))
        tried.add(point_identity(drawn[-1]))
    assert len(tried) == number
    return drawn


@pytest.mark.parametrize(("space", "number"), [(MIXED, 40), (FINITE, 6), (LARGE, 40)])
def test_points_are_drawn_once_and_the_same_again(space, number):
    assert draw_all(space, number) == draw_all(space, number)


def test_the_last_points_of_a_large_space_are_found():
    points = SpacePoints(LARGE).left(())
    left = points[1234]
    tried = {point_identity(point) for point in points} - {point_identity(left)}
    assert UntriedPoints(LARGE).draw(tried, 0) == left
    with pytest.raises(InputError, match="must have points that were not tried"):
        UntriedPoints(LARGE).draw(tried | {point_identity(left)}, 0)


@pytest.mark.parametrize("space", [MIXED, FINITE])
def test_a_sampler_that_likes_one_point_suggests_each_point_once(space):
    """Dice, or the first network, is best by far: TPE would suggest it again and again."""

    def search(number):
        sampler, known, tried, points = Sampler(space, 3), [], set(), []
        for place in range(number):
            points.append(sampler.point(known, place, tried))
            tried.add(point_identity(points[-1]))
            value = (
                0.9 if points[-1].get("loss.name", points[-1].get("model.architecture")) in ("dice", "unet") else 0.1
            )
            known.append(Observation(space.searched(points[-1]), "completed", (value,), trial_id=str(place)))
        assert len(tried) == number
        return points

    number = min(SpacePoints(space).count, 30)
    points = search(number)
    assert search(number) == points
    assert all(before != after for before, after in pairwise(points))


def test_what_was_not_tried_is_suggested_as_without_a_memory():
    space = parse_space({"optimizer": {"learning_rate": RANGE}, "model": {"architecture": ["unet", "fpn"]}})
    known = [Observation(space.searched(suggest_point(space, [], 1, n)), "completed", (n / 20,)) for n in range(20)]
    tried = {point_identity(each.params) for each in known}
    for number in range(20, 26):
        assert Sampler(space, 0).point(known, number, tried) == suggest_point(space, known, 0, number)
