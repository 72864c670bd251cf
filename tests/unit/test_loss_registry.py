"""The registry of losses: what stands in it fits the classes that it names, and the guide has a row of each."""

import inspect
import re
from pathlib import Path

import pytest
from torch.nn import Module

from trainable.config.loss_config import LossConfig
from trainable.config.loss_registry import CLASS_WEIGHT_POWER, LOSS_NAMES, LOSSES, PARAMETERS, REQUIRED_PARAMETERS
from trainable.config.user_class import load_class
from trainable.losses import PixelLoss, RegionLoss

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"


@pytest.mark.parametrize("name", LOSSES)
def test_an_entry_has_the_very_parameters_of_its_class(name):
    loss = LOSSES[name]
    found = load_class(loss.implementation)
    given = {parameter.argument or key for key, parameter in loss.parameters.items() if key != CLASS_WEIGHT_POWER}
    given |= {"class_weights"} if CLASS_WEIGHT_POWER in loss.parameters else set()
    assert given | {"ignore_index"} == inspect.signature(found).parameters.keys()
    assert issubclass(found, {"pixel": PixelLoss, "region": RegionLoss, None: Module}[loss.term])


def test_a_parameter_means_the_same_under_every_loss():
    for loss in LOSSES.values():
        for name, parameter in loss.parameters.items():
            assert parameter is PARAMETERS[name]


def test_the_sampler_is_asked_in_an_order_that_stays():
    """Another order of the parameters would change what a seed suggests."""
    *parameters, last = LossConfig.model_fields
    order = [
        *("name", "pixel", "region", "region_weight", "class_weight_power"),
        *("alpha", "beta", "gamma", "gamma_on", "focal_gamma"),
    ]
    assert (parameters[: len(order)], last) == (order, "options")
    assert {"alpha", "beta", "focal_gamma"} <= set(REQUIRED_PARAMETERS)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_the_guide_has_a_row_with_the_parameters_of_each_loss(name):
    (row,) = re.findall(rf"^\| `{name}` \|.*\|$", GUIDE.read_text(), re.MULTILINE)
    parameters = LOSSES[name].parameters if name in LOSSES else ("pixel", "region", "region_weight")
    assert set(re.findall(r"`(\w+)`", row.split("|")[-2])) == set(parameters)
