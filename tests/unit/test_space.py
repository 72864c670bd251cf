"""Reading a space, and refusing one."""

import optuna
import pytest

from search.space.space import Choice, Fixed, Range, nested, suggest
from search.space.space_parsing import parse_space
from trainable.errors import InputError


def test_a_scalar_is_fixed_a_list_a_choice_and_low_high_a_range():
    space = parse_space(
        {
            "model": {"architecture": ["unet", "fpn"], "encoder": "resnet18"},
            "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
            "data": {"batch_size": {"low": 2, "high": 8}, "rare_class_first": {"low": 0, "high": 1}},
        }
    )
    assert space.domains["model.architecture"] == Choice(("unet", "fpn"))
    assert space.domains["model.encoder"] == Fixed("resnet18")
    assert space.domains["optimizer.learning_rate"] == Range(1e-4, 1e-2, log=True, integer=False)
    assert space.domains["data.batch_size"] == Range(2, 8, log=False, integer=True)
    assert space.domains["data.rare_class_first"] == Range(0.0, 1.0, log=False, integer=False)


def test_a_choice_of_one_is_fixed():
    assert parse_space({"model": {"architecture": ["unet"]}}).domains["model.architecture"] == Fixed("unet")


def test_the_losss_name_is_asked_first_wherever_it_stands():
    space = parse_space({"loss": {"alpha": 0.7, "beta": {"low": 0.1, "high": 1}, "name": ["dice", "tversky"]}})
    assert list(space.domains) == ["loss.name", "loss.alpha", "loss.beta"]
    assert suggest(optuna.trial.FixedTrial({"loss.name": "dice"}), space) == {"loss.name": "dice"}
    assert suggest(optuna.trial.FixedTrial({"loss.name": "tversky", "loss.beta": 0.2}), space) == {
        "loss.name": "tversky", "loss.alpha": 0.7, "loss.beta": 0.2,
    }  # fmt: skip


def test_flat_keys_become_sections():
    assert nested({"loss.name": "iou", "model.encoder": "x", "loss.alpha": 1}) == {
        "loss": {"name": "iou", "alpha": 1}, "model": {"encoder": "x"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"arch": "unet"}}, r"space\.model\.arch is not a key of the config"),
        ({"model": {"architecture": []}}, r"space\.model\.architecture must name at least one value"),
        ({"model": {"architecture": ["unet", "unet"]}}, r"must not name a value twice"),
        ({"model": {"architecture": {"low": 1, "high": 2}}}, r"is searched in a list of values, not in a range"),
        ({"model": {"output_stride": [8, 12]}}, r"output_stride must be one of 8, 16; got 12"),
        ({"optimizer": {"learning_rate": {"low": 1e-2, "high": 1e-3}}}, r"must have low below high"),
        ({"optimizer": {"learning_rate": {"low": 1e-2}}}, r"as a range reads \{low, high"),
        ({"optimizer": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": "yes"}}}, r"log must be true or false"),
        ({"optimizer": {"weight_decay": {"low": 0, "high": 1, "log": True}}}, r"on a log scale must begin above 0"),
        ({"optimizer": {"learning_rate": 0}}, r"learning_rate must be above 0"),
        ({"data": {"batch_size": 0}}, r"batch_size must be at least 1"),
        ({"data": {"crop": "100x100"}}, r"space\.data\.crop must have sides that are multiples of 32"),
        ({"loss": {"name": "tversky", "alpha": 0.7}}, r"tversky needs space\.loss\.beta"),
        ({"loss": {"name": ["focal", "dice"]}}, r"focal needs space\.loss\.focal_gamma"),
        ({"loss": {"name": "dice", "focal_gamma": 2}}, r"space\.loss\.focal_gamma exists only under"),
        ({"loss": {"name": "lovasz"}}, r"space\.loss\.name must be one of cross_entropy"),
        ({"loss": {"name": "tversky", "alpha": None, "beta": 1}}, r"space\.loss\.alpha must be a value"),
    ],
)
def test_a_bad_space_is_refused_with_its_key(sections, message):
    with pytest.raises(InputError, match=message):
        parse_space(sections)
