"""A batch in parts has the gradient of the whole on a GPU too, where random numbers and scaling are its own."""

import pytest
import torch
from torch import nn

from trainable.batches.normalise import normalise
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.device import Compute
from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, TverskyLoss
from trainable.micro_batches import MicroBatches
from trainable.trial_config import TrialConfig

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("exact_convolutions")]

IGNORED, CLASSES, SIZE = 255, 5, 6


class Hardest(nn.Module):
    """A loss of a user's own, of the hardest pixels of the whole batch."""

    def forward(self, logits, target):
        losses = nn.functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")
        return losses.flatten().topk(500).values.mean()


LOSSES = {
    "cross entropy": CrossEntropyLoss(class_weights=[0.5, 2.0, 1.0, 4.0, 3.0], ignore_index=IGNORED),
    "focal": FocalLoss(gamma=1.7, ignore_index=IGNORED),
    "dice": DiceLoss(ignore_index=IGNORED),
    "tversky": TverskyLoss(alpha=0.7, beta=0.2, gamma=1.3, ignore_index=IGNORED),
    "compound": CompoundLoss(
        pixel=FocalLoss(gamma=2.0, ignore_index=IGNORED),
        region=TverskyLoss(alpha=0.7, beta=0.2, ignore_index=IGNORED),
        region_weight=0.6,
    ),
    "own": Hardest(),
}


@pytest.fixture(params=LOSSES, ids=str)
def criterion(request, device):
    return LOSSES[request.param].to(device)


def make_network(compute, *extra):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *extra, nn.ReLU(), nn.Conv2d(8, CLASSES, 3, padding=1))
    return network.to(compute.device, memory_format=compute.memory_format)


def make_batch():
    """The last class is in the first image only, of the last image everything is ignored."""
    generator = torch.Generator().manual_seed(SIZE)
    images = torch.randint(0, 256, (SIZE, 3, 64, 96), dtype=torch.uint8, generator=generator)
    target = torch.randint(0, CLASSES - 1, (SIZE, 64, 96), dtype=torch.uint8, generator=generator)
    target[0, 3:20] = CLASSES - 1
    target[-1] = IGNORED
    return images, target


def train(network, criterion, compute, parts):
    """The loss of one batch, and the gradients that it leaves, without their scale."""
    config = TrialConfig(
        dataset=DatasetConfig(layout="synthetic"),
        model=ModelConfig(architecture="unet", encoder_weights="none"),
        data=DataConfig(batch_size=SIZE, crop="64x96"),
    )
    scaler = torch.amp.GradScaler(compute.device.type, init_scale=1024.0, enabled=compute.dtype == torch.float16)
    micro_batches = MicroBatches(config, network, network, compute, scaler)
    micro_batches.parts = parts
    loss = micro_batches.backward(criterion, *make_batch())
    return loss.item(), gradients(network) / scaler.get_scale()


def gradients(network):
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters()])


TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.03, torch.float16: 0.03}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("parts", [2, 4])
def test_the_gradient_in_parts_is_that_of_the_whole_batch(criterion, on_device, dtype, parts):
    compute = on_device(dtype)
    network = make_network(compute)
    expected_loss, expected = train(network, criterion, compute, 1)
    loss, given = train(network, criterion, compute, parts)
    assert loss == pytest.approx(expected_loss, rel=1e-3)
    assert expected.norm() > 0
    assert (given - expected).norm() <= TOLERANCES[dtype] * expected.norm()


def test_the_whole_batch_has_the_gradient_of_the_cpu(criterion, on_device):
    compute, cpu = on_device(), Compute(torch.device("cpu"), torch.float32)
    loss, given = train(make_network(compute), criterion, compute, 1)
    expected_loss, expected = train(make_network(cpu), criterion.cpu(), cpu, 1)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert (given.cpu() - expected).norm() <= 1e-3 * expected.norm()


def test_both_passes_draw_the_same_numbers_and_the_next_step_goes_on_after_them(criterion, on_device):
    compute = on_device()
    network = make_network(compute, nn.Dropout(0.5))
    images, target = make_batch()

    torch.manual_seed(5)
    logits = [network(normalise(part, compute.device)) for part in images.tensor_split(3)]
    criterion(torch.cat(logits), target.to(compute.device).long()).backward()
    expected, next_number = gradients(network), torch.rand(1, device=compute.device)

    torch.manual_seed(5)
    _, given = train(network, criterion, compute, 3)
    assert (given - expected).norm() <= 1e-4 * expected.norm()
    assert torch.equal(torch.rand(1, device=compute.device), next_number)
