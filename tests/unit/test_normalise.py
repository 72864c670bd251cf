"""Normalised pixels against the definition."""

import numpy as np
import pytest
import torch

from trainable.batches.normalise import normalise

CPU = torch.device("cpu")


def by_definition(images_NCHW):
    """ImageNet's mean and standard deviation of values in 0..1, in float64."""
    mean, std = (np.array(v).reshape(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return (images_NCHW.numpy() / 255 - mean) / std


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 8, 4), (2, 1, 1), (1, 1, 9), (1, 9, 1), (0, 4, 4)])
@pytest.mark.parametrize("interleaved", [True, False])
def test_pixels_have_the_mean_taken_off_and_are_divided_by_the_deviation(shape, interleaved):
    n, height, width = shape
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(0, 256, (n, height, width, 3), generator=generator, dtype=torch.uint8).permute(0, 3, 1, 2)
    images = images if interleaved else images.contiguous()
    before = images.clone()
    pixels = normalise(images, CPU)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(pixels.numpy(), by_definition(images), rtol=1e-5, atol=1e-6)
    assert torch.equal(images, before)


def test_a_part_of_an_image_is_normalised_alone():
    image = torch.randint(0, 256, (1, 12, 10, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    images = image.permute(0, 3, 1, 2)
    part = normalise(images[:, :, 2:9, 3:8], CPU)
    assert torch.equal(part, normalise(images, CPU)[:, :, 2:9, 3:8])
