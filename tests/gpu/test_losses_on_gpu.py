"""Every built-in loss gives on a GPU what it gives on the CPU, in value and gradient."""

import numpy as np
import pytest
import torch

from trainable.config.loss_config import LossConfig
from trainable.config.loss_registry import COMPOUND, LOSSES, PARAMETERS
from trainable.data.image_set import IGNORED
from trainable.losses.loss_factory import build_loss

pytestmark = pytest.mark.gpu

PIXELS = np.array([9000, 400, 0, 2500, 100])
"""Of each class in training, for its weight."""
UNLIKE = {"alpha": 0.7, "beta": 0.2, "gamma": 1.3, "focal_gamma": 1.7, "class_weight_power": 0.5}


def config(name, **parameters):
    """A loss at values that are no special case of another."""
    own = PARAMETERS if name == COMPOUND else LOSSES[name].parameters
    chosen = {key: UNLIKE[key] for key in own if key in UNLIKE and name != COMPOUND}
    return LossConfig(name=name, **chosen | parameters)


CONFIGS = {
    **{name: config(name) for name in LOSSES},
    "tversky of the mean": config("tversky", gamma_on="mean"),
    "compound": config(COMPOUND, pixel="focal", region="tversky", region_weight=0.6, **UNLIKE),
}


@pytest.fixture(params=CONFIGS, ids=str)
def loss(request):
    return build_loss(CONFIGS[request.param], PIXELS)


def make_batch(height=96, width=160):
    """A class that is absent, one in a single image, and rows that are ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(4, len(PIXELS), height, width, generator=generator)
    target = torch.randint(0, 2, (4, height, width), generator=generator)
    target[1, 10:30] = 3
    target[2, :, :9] = 4
    target[:, 0] = IGNORED
    return logits, target


def value_and_gradient(loss, logits, target):
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf, target)
    (1024 * value).backward()  # as a scaler does: a pixel's share of the gradient is too small for float16
    return value.detach().double().cpu(), leaf.grad.double().cpu() / 1024


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 1e-2), (torch.float16, 1e-2)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["plain", "last"])
def test_value_and_gradient_are_those_of_the_cpu(loss, device, dtype, tolerance, memory_format):
    logits, target = make_batch()
    logits = logits.to(dtype)  # both see what is left of them
    expected_value, expected = value_and_gradient(loss, logits.float(), target)
    on_device = logits.to(device, memory_format=memory_format)
    value, gradient = value_and_gradient(loss.to(device), on_device, target.to(device))
    assert value.item() == pytest.approx(expected_value.item(), rel=1e-4)
    assert expected.norm() > 0
    assert (gradient - expected).norm() <= tolerance * expected.norm()


def test_nothing_but_ignored_pixels_is_zero_with_zero_gradient(loss, device):
    logits, target = make_batch(8, 8)
    value, gradient = value_and_gradient(
        loss.to(device), logits.to(device), torch.full_like(target, IGNORED).to(device)
    )
    assert value == 0
    assert (gradient == 0).all()


def test_more_pixels_than_are_worked_on_at_once(loss, device):
    """The terms are made block by block: what lies on both sides of a border is counted once."""
    logits, target = make_batch(640, 1024)
    expected_value, expected = value_and_gradient(loss, logits, target)
    value, gradient = value_and_gradient(loss.to(device), logits.to(device), target.to(device))
    assert value.item() == pytest.approx(expected_value.item(), rel=1e-4)
    assert (gradient - expected).norm() <= 1e-4 * expected.norm()
