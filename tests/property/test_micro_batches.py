"""What must hold of the statistics of a batch's parts, whatever the batch, the parts and the loss."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.losses import CompoundLoss, FocalLoss, TverskyLoss

IGNORED = 255
untimed = settings(deadline=None)  # torch's first calls take long, and so does a busy machine


@st.composite
def batches(draw):
    """Logits, and a target in which classes are absent and pixels are ignored as often as not; cut anywhere."""
    n, c, height, width = (draw(st.integers(low, high)) for low, high in ((2, 6), (2, 6), (1, 5), (1, 5)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    logits = draw(st.sampled_from([0.0, 0.1, 1.0, 3.0])) * torch.randn(n, c, height, width, generator=generator)
    target = torch.randint(0, draw(st.integers(1, c)), (n, height, width), generator=generator)
    target[torch.rand(n, height, width, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = IGNORED
    return logits, target, draw(st.integers(2, n))


@st.composite
def losses(draw):
    """A pixel loss, a region loss or both."""
    pixel = FocalLoss(gamma=draw(st.sampled_from([0.0, 0.5, 2.0])), ignore_index=IGNORED)
    region = TverskyLoss(
        alpha=draw(st.floats(0.05, 2.0)),
        beta=draw(st.floats(0.05, 2.0)),
        gamma=draw(st.floats(0.5, 3.0)),
        gamma_on=draw(st.sampled_from(["class", "mean"])),
        ignore_index=IGNORED,
    )
    compound = CompoundLoss(pixel=pixel, region=region, region_weight=draw(st.floats(0, 1)))
    return draw(st.sampled_from([pixel, region, compound]))


@untimed
@given(batches(), losses())
def test_the_statistics_of_the_parts_add_up_to_the_loss_and_its_gradient(batch, loss):
    logits, target, parts = batch
    whole = logits.clone().requires_grad_()
    expected = loss(whole, target)
    expected.backward()

    pieces = [piece.clone().requires_grad_() for piece in logits.tensor_split(parts)]
    statistics = [loss.statistics(*part) for part in zip(pieces, target.tensor_split(parts), strict=True)]
    value = loss.loss_from_statistics(torch.stack(statistics).sum(dim=0))
    value.backward()
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.cat([piece.grad for piece in pieces]), whole.grad, rtol=1e-4, atol=1e-5)
