"""The points that are tried first."""

import pytest

from search.baselines import baseline_points
from search.space import parse_space
from trainable.errors import InputError

LOSSES = ["cross_entropy", "focal", "dice", "iou", "tversky"]


def space(**optimizer):
    return parse_space(
        {
            "model": {"architecture": ["unet", "deeplabv3", "deeplabv3plus"], "encoder": "resnet34"},
            "loss": {
                "name": LOSSES,
                "alpha": {"low": 0.1, "high": 1.0},
                "beta": {"low": 0.1, "high": 1.0},
                "gamma": {"low": 0.5, "high": 2.0},
                "focal_gamma": {"low": 0.25, "high": 3.0},
            },
            "optimizer": optimizer or {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
            "data": {"rare_class_first": {"low": 0.0, "high": 0.5}, "batch_size": [4, 8], "crop": "64x64"},
        }
    )


def test_the_seeds_fifteen_with_its_settings():
    points = baseline_points("seed", space())
    assert len(points) == 15
    assert {(p["model.architecture"], p["loss.name"]) for p in points} == {
        (a, loss) for a in ("unet", "deeplabv3", "deeplabv3plus") for loss in LOSSES
    }
    for point in points:
        assert point["optimizer.learning_rate"] == 1e-3
        assert point["data.rare_class_first"] == 0.0
        tversky = (point.get("loss.alpha"), point.get("loss.beta"), point.get("loss.gamma"))
        assert tversky == ((0.7, 0.3, 1.0) if point["loss.name"] == "tversky" else (None, None, None))
        assert point["data.batch_size"] == 4


def test_a_fixed_key_stays_fixed():
    assert {p["optimizer.learning_rate"] for p in baseline_points("seed", space(learning_rate=0.005))} == {0.005}


def test_none_is_none():
    assert baseline_points("none", space()) == []


def test_the_users_points_nested_or_flat_filled_up():
    nested, flat = baseline_points(
        [
            {"loss": {"name": "focal"}, "model": {"architecture": "unet"}},
            {"loss.name": "focal", "model.architecture": "unet"},
        ],
        space(),
    )
    assert nested == flat
    assert nested["loss.focal_gamma"] == 2.0


@pytest.mark.parametrize(
    ("baselines", "optimizer", "message"),
    [
        ("seed", {"learning_rate": {"low": 2e-3, "high": 1e-2}}, r"baselines: seed must lie in the space.*0\.001"),
        (
            [{"loss.name": "dice", "loss.alpha": 0.5}],
            {},
            r"baselines\[0\] names a parameter that its loss does not have",
        ),
        ([{"optimizer.momentum": 0.5}], {}, r"baselines\[0\] may only name keys of the space"),
        ([{"model.architecture": "fpn"}], {}, r"space\.model\.architecture is one of .*fpn"),
        ([{}, {"loss.name": "tversky", "loss.alpha": 3}], {}, r"baselines\[1\].*loss\.alpha=3"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(baselines, optimizer, message):
    with pytest.raises(InputError, match=message):
        baseline_points(baselines, space(**optimizer))
