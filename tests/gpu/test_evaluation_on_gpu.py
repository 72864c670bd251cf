"""An evaluation on a GPU counts what it counts on the CPU, where the network says the same."""

import numpy as np
import pytest
import torch
from torch import nn

from trainable.config.sections import ModelConfig
from trainable.data.image_set import IGNORED
from trainable.device import Compute
from trainable.losses import CrossEntropyLoss, TverskyLoss
from trainable.measure.confusion import confusion_matrices
from trainable.measure.evaluation import Scoring, evaluate
from trainable.measure.prediction import predict_labels
from trainable.network.model import build_model

pytestmark = pytest.mark.gpu

CPU = Compute(torch.device("cpu"), torch.float32)
CLASSES = 4
SCORING = Scoring((1, 3), 2, np.log([0.6, 0.1, 0.25, 0.05]), (-0.5, 0.0, 0.25, 0.5, 1.0))
SHAPES = [(20, 31), (64, 64), (20, 31), (5, 90), (33, 32), (200, 260), (1100, 1500)]
"""The last is looked at in tiles."""


@pytest.fixture(scope="module")
def cache(array_cache):
    generator = np.random.default_rng(3)
    pairs = []
    for shape in SHAPES:
        coarse = generator.choice(
            [0, 1, 2, 3, IGNORED], (shape[0] // 4 + 1, shape[1] // 4 + 1), p=[0.5, 0.1, 0.1, 0.1, 0.2]
        )
        mask = coarse.repeat(4, axis=0).repeat(4, axis=1)[: shape[0], : shape[1]]
        pairs.append((generator.integers(0, 256, (*shape, 3)), mask))
    return array_cache(pairs, CLASSES, SCORING.thing_labels)


class Told(nn.Module):
    """Says the same of the same pixels everywhere, exactly: sixteenths, so that two classes are often equal."""

    def forward(self, pixels):
        levels = (pixels * 8).round().sum(dim=1, keepdim=True)
        return torch.cat([torch.remainder(levels * factor, 11) / 16 for factor in (1, 3, 5, 7)], dim=1)


@pytest.mark.parametrize(
    "criterion", [CrossEntropyLoss(ignore_index=IGNORED), TverskyLoss(alpha=0.7, beta=0.2, ignore_index=IGNORED)]
)
def test_the_same_logits_are_counted_alike(criterion, cache, on_device):
    indices = [6, 0, 5, 2, 3, 4]
    expected = evaluate(Told(), criterion, cache, indices, CPU, SCORING)
    given = evaluate(Told(), criterion.to(on_device().device), cache, indices, on_device(), SCORING)
    assert expected.per_image.sum() > 0
    assert expected.sized_objects.sum() > 0
    np.testing.assert_array_equal(given.per_image, expected.per_image)
    np.testing.assert_array_equal(given.sized_objects, expected.sized_objects)
    np.testing.assert_array_equal(given.adjusted, expected.adjusted)
    assert given.loss == pytest.approx(expected.loss, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_labels_of_an_image_are_those_that_were_counted(dtype, cache, on_device):
    compute = on_device(dtype)
    torch.manual_seed(0)
    network = build_model(ModelConfig(architecture="unet", encoder="resnet18", encoder_weights="none"), CLASSES)
    network = network.to(compute.device, memory_format=compute.memory_format)
    indices = [6, 0, 1, 2]
    criterion = CrossEntropyLoss(ignore_index=IGNORED)
    counted = evaluate(network, criterion, cache, indices, compute, SCORING).per_image
    for position, index in enumerate(indices):
        labels = torch.from_numpy(predict_labels(network, cache, indices, position, compute))[None]
        target = torch.from_numpy(cache.mask(index).copy())[None]
        (matrix,) = confusion_matrices(labels, target, CLASSES, IGNORED).numpy()
        np.testing.assert_array_equal(matrix, counted[position])
