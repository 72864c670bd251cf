"""Networks that are left out of a space are not suggested, not a baseline, and not checked."""

import collections
from pathlib import Path

import pytest

from search.config.search_config import SearchConfig, SpaceConfig
from search.decide.sampler import Observation, suggest_point
from search.run.preflight.network_checks import model_configs
from search.space.baselines import baseline_points
from search.space.exclusions import fewest_exclusions
from search.space.space_parsing import parse_space
from trainable.errors import InputError

MODEL = {"architecture": ["unet", "fpn", "deeplabv3plus"], "encoder": ["resnet18", "vgg11", "mit_b0"]}
NO_VGG = [{"architecture": "deeplabv3plus", "encoder": "vgg11"}, {"architecture": "fpn", "encoder": "resnet18"}]


def space(exclude, **more):
    return parse_space({"model": MODEL | {"exclude": exclude}} | more)


def pair(values):
    return values["model.architecture"], values["model.encoder"]


def left_out(exclude):
    return {
        (architecture, encoder)
        for architecture in MODEL["architecture"]
        for encoder in MODEL["encoder"]
        if any({"architecture": architecture, "encoder": encoder}.items() >= entry.items() for entry in exclude)
    }


def test_what_is_excluded_is_never_suggested_and_all_else_is():
    """Also where what is excluded was best by far before it was."""
    loss = {"loss": {"name": "dice"}, "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2}}}
    given = space(NO_VGG, **loss)
    best = {"model.architecture": "fpn", "model.encoder": "resnet18", "optimizer.learning_rate": 1e-3}
    observations = [Observation(best, "completed", (0.9,))] * 12
    seen = collections.Counter(pair(suggest_point(given, observations, 0, number)) for number in range(12, 92))
    assert not set(seen) & left_out(NO_VGG)
    assert len(set(seen)) == 9 - 2


def test_where_little_is_left_it_is_found_evenly():
    exclude = [{"architecture": "unet"}, {"architecture": "fpn"}, {"encoder": "vgg11"}]
    seen = collections.Counter(pair(suggest_point(space(exclude), [], 0, number)) for number in range(40))
    assert set(seen) == {("deeplabv3plus", "resnet18"), ("deeplabv3plus", "mit_b0")}
    assert min(seen.values()) > 8
    again = [suggest_point(space(exclude), [], 0, number) for number in range(5)]
    assert again == [suggest_point(space(exclude), [], 0, number) for number in range(5)]


def test_without_exclusions_the_suggestions_are_what_they_were():
    plain, empty = parse_space({"model": MODEL}), space([])
    assert [suggest_point(plain, [], 3, n) for n in range(4)] == [suggest_point(empty, [], 3, n) for n in range(4)]


def test_baselines_take_a_network_that_is_left():
    given = space([*NO_VGG, {"architecture": "deeplabv3plus", "encoder": "resnet18"}], loss={"name": ["dice", "iou"]})
    assert {pair(point) for point in baseline_points("seed", given)} == {
        ("unet", "resnet18"), ("fpn", "vgg11"), ("deeplabv3plus", "mit_b0"),
    }  # fmt: skip
    without = space([{"architecture": "fpn"}], loss={"name": ["dice", "iou"]})
    assert {pair(point)[0] for point in baseline_points("seed", without)} == {"unet", "deeplabv3plus"}


def test_a_baseline_that_is_left_out_is_refused():
    with pytest.raises(InputError, match=r"baselines\[0\] must name a network that space\.model\.exclude leaves .*fpn"):
        baseline_points([{"model": {"architecture": "fpn", "encoder": "resnet18"}}], space(NO_VGG))
    (point,) = baseline_points([{"model": {"architecture": "fpn"}}], space(NO_VGG))
    assert pair(point) == ("fpn", "vgg11")


def test_what_is_left_out_is_not_built():
    built = {(model.architecture, model.encoder) for model in model_configs(space(NO_VGG))}
    assert not built & left_out(NO_VGG)
    assert len(built) == 7


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("fpn", r"space\.model\.exclude must be a list of combinations; got 'fpn'\. Write for example exclude: \[{"),
        ([{}], r"space\.model\.exclude must be a list of combinations"),
        (
            [{"encoder": "vgg1"}],
            r"exclude\[0\]\.encoder must be a value of space\.model\.encoder; got 'vgg1'\. Did you me",
        ),
        ([{"loss": "dice"}], r"exclude\[0\] may name architecture, encoder of space\.model; got loss: 'dice'"),
        ([{"output_stride": 8}], r"exclude\[0\] may name architecture, encoder of space\.model; got output_stride: 8"),
        (
            [{"encoder": encoder} for encoder in MODEL["encoder"]],
            r"space\.model\.exclude must leave a network in the space",
        ),
    ],
)
def test_exclusions_that_mean_nothing_are_refused(exclude, message):
    with pytest.raises(InputError, match=message):
        space(exclude)


def test_a_misspelt_key_is_understood():
    with pytest.raises(
        InputError, match=r"space\.model\.exclud is not a key of the config.*Did you mean space\.model\.excl"
    ):
        parse_space({"model": MODEL | {"exclud": NO_VGG}})


def test_weights_are_left_out_by_the_path_that_was_given(tmp_path, monkeypatch):
    """Each encoder with weights of its own; the config's paths become absolute."""
    monkeypatch.chdir(tmp_path)
    given = SpaceConfig(
        model={
            "encoder": ["resnet18", "vgg11"],
            "encoder_weights": ["r.pt", "v.pt"],
            "exclude": [
                {"encoder": "resnet18", "encoder_weights": "v.pt"}, {"encoder": "vgg11", "encoder_weights": "r.pt"},
            ],
        }
    )  # fmt: skip
    models = model_configs(given.absolute().parsed)
    assert {(model.encoder, model.encoder_weights) for model in models} == {
        ("resnet18", str(Path("r.pt").absolute())), ("vgg11", str(Path("v.pt").absolute())),
    }  # fmt: skip
    recorded = SearchConfig(name="a", dataset={"layout": "synthetic"}, space=given).absolute().model_dump(mode="json")
    assert SearchConfig.model_validate(recorded).parsed_space.excluded == given.absolute().parsed.excluded


def test_the_fewest_keys_that_spare_the_others():
    def points(*pairs):
        return [{"model.architecture": architecture, "model.encoder": encoder} for architecture, encoder in pairs]

    passing = points(("unet", "a"), ("unet", "b"), ("fpn", "a"))
    refused = points(("unet", "c"), ("fpn", "c"), ("fpn", "b"))
    assert fewest_exclusions(refused, passing) == [
        {"model.encoder": "c"}, {"model.architecture": "fpn", "model.encoder": "b"},
    ]  # fmt: skip
    assert fewest_exclusions(refused, []) == []
    assert fewest_exclusions(points(("unet", "a")), passing) == []
