"""The points that are tried first."""

import pytest

from search.space.baselines import baseline_points
from search.space.space_parsing import parse_space
from trainable.errors import InputError

LOSSES = ["cross_entropy", "focal", "dice", "iou", "tversky"]


STRONG = {
    "model": {"architecture": ["unet", "fpn"]},
    "loss": {
        "name": ["cross_entropy", "dice", "focal", "tversky", "compound"],
        "pixel": ["focal", "cross_entropy"],
        "region": ["tversky", "dice"],
        "region_weight": {"low": 0.1, "high": 0.9},
        "class_weight_power": {"low": 0.0, "high": 1.0},
        "focal_gamma": {"low": 0.5, "high": 3.0},
        "alpha": {"low": 0.1, "high": 1.0},
        "beta": {"low": 0.1, "high": 1.0},
        "gamma": {"low": 0.5, "high": 2.0},
    },
    "data": {"copy_paste": {"low": 0.0, "high": 0.5}},
}


def strong_space(**loss):
    return parse_space(STRONG | {"loss": STRONG["loss"] | loss})


def losses(points, architecture="unet"):
    return [
        {key.removeprefix("loss."): value for key, value in point.items() if key.startswith("loss.")}
        for point in points
        if point["model.architecture"] == architecture
    ]


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


def test_the_seed_takes_a_compound_as_cross_entropy_and_dice():
    points = baseline_points("seed", strong_space())
    assert len(points) == 2 * 5
    (compound,) = [loss for loss in losses(points) if loss["name"] == "compound"]
    assert compound == {
        "name": "compound",
        "pixel": "cross_entropy",
        "region": "dice",
        "region_weight": 0.5,
        "class_weight_power": 0.0,
    }
    assert {point["data.copy_paste"] for point in points} == {0.0}


def test_the_strong_ones_are_what_the_field_holds_against_rare_classes():
    points = baseline_points("strong", strong_space())
    assert losses(points, "unet") == losses(points, "fpn")
    assert losses(points) == [
        {"name": "cross_entropy", "class_weight_power": 0.5},
        {
            "name": "compound",
            "pixel": "cross_entropy",
            "region": "dice",
            "region_weight": 0.5,
            "class_weight_power": 0.0,
        },
        {"name": "focal", "class_weight_power": 0.0, "focal_gamma": 2.0},
        {"name": "tversky", "alpha": 0.7, "beta": 0.3, "gamma": 1.0},
    ]


def test_the_strong_ones_do_with_what_is_fixed_or_left_to_its_default():
    given = STRONG["loss"] | {"class_weight_power": 0.25, "focal_gamma": 1.5, "pixel": "focal"}
    sections = {"loss": {key: given[key] for key in given if key not in ("region", "region_weight", "gamma")}}
    points = baseline_points("strong", parse_space(sections))
    assert points == [
        {"loss.name": "cross_entropy", "loss.class_weight_power": 0.25},
        {"loss.name": "compound", "loss.pixel": "focal", "loss.class_weight_power": 0.25, "loss.focal_gamma": 1.5},
        {"loss.name": "focal", "loss.class_weight_power": 0.25, "loss.focal_gamma": 1.5},
        {"loss.name": "tversky", "loss.alpha": 0.7, "loss.beta": 0.3},
    ]


WITHOUT_COMPOUND = {key: STRONG["loss"][key] for key in ("alpha", "beta", "gamma", "focal_gamma")}
WITHOUT_WEIGHTS = {key: value for key, value in STRONG["loss"].items() if key != "class_weight_power"}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            WITHOUT_COMPOUND | {"name": ["focal", "tversky"]},
            r"baselines: strong needs .* in space\.loss\.name; got no cross_entropy, compound\. "
            r"Add cross_entropy and compound to space\.loss\.name",
        ),
        (WITHOUT_WEIGHTS, r"needs a space\.loss\.class_weight_power above 0.*; got none\. Write class_weight_power: "),
        (WITHOUT_WEIGHTS | {"class_weight_power": 0.0}, r"needs a space\.loss\.class_weight_power above 0.*; got 0\. "),
        (
            STRONG["loss"] | {"class_weight_power": {"low": 0.6, "high": 1.0}},
            r"strong must lie in the space.*class_weight_power is 0\.6\.\.1\.0; got loss.class_weight_power=0\.5",
        ),
        (
            STRONG["loss"] | {"region": ["iou", "tversky"]},
            r"space\.loss\.region is one of .*; got loss\.region=dice\. Widen space\.loss\.region",
        ),
    ],
)
def test_a_space_that_lacks_a_strong_one_is_told_which_key_to_add(loss, message):
    with pytest.raises(InputError, match=message):
        baseline_points("strong", parse_space({"loss": loss}))


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
            r"baselines\[0\] names a parameter that its loss or its network does not have",
        ),
        (
            [{"optimizer.momentum": 0.5}],
            {},
            r"baselines\[0\] must name keys of a space.*keys of optimizer are learning_",
        ),
        (
            [{"data.copy_paste": 0.5}],
            {},
            r"baselines\[0\] may only name keys of the space.*Add space\.data\.copy_paste",
        ),
        ([{"model": "fpn"}], {}, r"baselines\[0\] must map model to keys and values; got 'fpn'"),
        ([{"data.batch_size": True}], {}, r"space\.data\.batch_size is .*4.*; got data\.batch_size=True"),
        ([{"model.architecture": "fpn"}], {}, r"space\.model\.architecture is one of .*fpn"),
        ([{}, {"loss.name": "tversky", "loss.alpha": 3}], {}, r"baselines\[1\].*loss\.alpha=3"),
    ],
)
def test_a_point_outside_of_the_space_is_refused(baselines, optimizer, message):
    with pytest.raises(InputError, match=message):
        baseline_points(baselines, space(**optimizer))


def test_a_number_is_taken_as_its_domain_writes_it():
    domains = parse_space(
        {"data": {"batch_size": [4, 8], "crops_per_image": {"low": 1, "high": 4}, "copy_paste": {"low": 0, "high": 1}}}
    )
    given = {"data.batch_size": 8.0, "data.crops_per_image": 2.0, "data.copy_paste": 1}
    (point,) = baseline_points([given], domains)
    assert [repr(value) for value in point.values()] == ["8", "2", "1.0"]
    with pytest.raises(InputError, match=r"crops_per_image is a whole number of 1\.\.4; got .*=2\.5"):
        baseline_points([{"data.crops_per_image": 2.5}], domains)
    with pytest.raises(InputError, match=r"batch_size is one of \[1, 8\]; got data\.batch_size=True"):
        baseline_points([{"data.batch_size": True}], parse_space({"data": {"batch_size": [1, 8]}}))
