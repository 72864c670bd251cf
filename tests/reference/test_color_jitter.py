"""Colours distorted as torchvision distorts them, bit for bit."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from trainable.batches.color_jitter import Jitter, jitter_colors


def expected(image_CHW, jitter):
    image_CHW = F.adjust_brightness(image_CHW, jitter.brightness)
    image_CHW = F.adjust_contrast(image_CHW, jitter.contrast)
    return F.adjust_saturation(image_CHW, jitter.saturation)


def images(generator):
    """Any size; noise, a flat one, few colours; channels first or last in memory."""
    for number in range(40):
        shape = (3, *generator.integers(1, 200, 2))
        low, high = sorted(generator.integers(0, 257, 2))
        pixels = generator.integers(low, max(high, low + 1), shape).clip(0, 255)
        image_CHW = torch.from_numpy(pixels.astype(np.uint8))
        if number % 2:
            image_CHW = image_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1)
        yield image_CHW


@pytest.mark.parametrize("strength", [0.0, 0.2, 1.0])
def test_is_torchvision_bit_for_bit(strength):
    generator = np.random.default_rng(0)
    for image_CHW in images(generator):
        jitter = Jitter(*(1 + strength * generator.uniform(-1, 1, 3)).tolist())
        wanted, stride = expected(image_CHW, jitter), image_CHW.stride()
        jitter_colors(image_CHW, jitter)
        assert torch.equal(image_CHW, wanted), jitter
        assert image_CHW.stride() == stride


@pytest.mark.parametrize("field", Jitter._fields)
def test_each_factor_acts_alone(field):
    image_CHW = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (3, 40, 50)).astype(np.uint8))
    jitter = Jitter(1.0, 1.0, 1.0)._replace(**{field: 1.4})
    wanted = getattr(F, f"adjust_{field}")(image_CHW, 1.4)
    assert not torch.equal(image_CHW, wanted)
    jitter_colors(image_CHW, jitter)
    assert torch.equal(image_CHW, wanted)
