"""What must hold of the losses for any logits, target and parameters."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss, softmax_terms
from trainable.losses.class_weights import MAX_RATIO, class_weights
from trainable.losses.soft_counts import soft_counts

IGNORED = 255
untimed = settings(deadline=None)  # torch's first calls take long, and so does a busy machine
parameters = st.fixed_dictionaries(
    {
        "alpha": st.floats(0.05, 2.0),
        "beta": st.floats(0.05, 2.0),
        "gamma": st.floats(0.25, 3.0),
        "gamma_on": st.sampled_from(["class", "mean"]),
    }
)


@st.composite
def batches(draw):
    """Logits of any scale, and a target in which classes are absent and pixels are ignored as often as not."""
    n, c, height, width = (draw(st.integers(low, high)) for low, high in ((1, 4), (2, 6), (1, 5), (1, 5)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    logits = draw(st.sampled_from([0.0, 0.1, 1.0, 10.0, 200.0])) * torch.randn(n, c, height, width, generator=generator)
    target = torch.randint(0, draw(st.integers(1, c)), (n, height, width), generator=generator)
    target[torch.rand(n, height, width, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = IGNORED
    return logits, target


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    value.backward()
    return value.detach(), logits.grad


def assert_same(loss, other, batch):
    for result, expected in zip(value_and_gradient(loss, *batch), value_and_gradient(other, *batch), strict=True):
        torch.testing.assert_close(result, expected)


@untimed
@given(batches(), st.sampled_from(["class", "mean"]))
def test_dice_is_tversky_at_one_half(batch, gamma_on):
    tversky = TverskyLoss(alpha=0.5, beta=0.5, gamma=1.0, gamma_on=gamma_on, ignore_index=IGNORED)
    assert_same(DiceLoss(ignore_index=IGNORED), tversky, batch)


@untimed
@given(batches(), st.sampled_from(["class", "mean"]))
def test_iou_is_tversky_at_one(batch, gamma_on):
    tversky = TverskyLoss(alpha=1.0, beta=1.0, gamma=1.0, gamma_on=gamma_on, ignore_index=IGNORED)
    assert_same(IoULoss(ignore_index=IGNORED), tversky, batch)


@untimed
@given(batches(), st.booleans())
def test_focal_at_gamma_0_is_cross_entropy(batch, weighted):
    weights = [0.5 + c for c in range(batch[0].shape[1])] if weighted else None
    focal = FocalLoss(gamma=0.0, class_weights=weights, ignore_index=IGNORED)
    assert_same(focal, CrossEntropyLoss(class_weights=weights, ignore_index=IGNORED), batch)


@untimed
@given(batches(), parameters, st.floats(0, 1))
def test_a_compound_is_the_weighted_sum_of_its_terms(batch, parameters, region_weight):
    pixel = FocalLoss(gamma=1.5, ignore_index=IGNORED)
    region = TverskyLoss(ignore_index=IGNORED, **parameters)
    compound = CompoundLoss(pixel=pixel, region=region, region_weight=region_weight)
    assert_same(compound, lambda *b: (1 - region_weight) * pixel(*b) + region_weight * region(*b), batch)


@untimed
@given(st.lists(st.integers(0, 10**13), min_size=2, max_size=20).filter(any), st.floats(0.01, 1))
def test_class_weights_are_bounded_ordered_and_1_on_average(counts, power):
    counts = np.array(counts, dtype=np.int64)
    weights = np.array(class_weights(counts, power))
    assert (weights > 0).all()
    assert weights.max() / weights.min() <= MAX_RATIO * (1 + 1e-9)
    assert np.average(weights, weights=counts) == pytest.approx(1.0)
    occurring = counts > 0
    rarest_first = weights[occurring][np.argsort(counts[occurring])]
    assert (np.diff(rarest_first) <= 1e-12 * weights.max()).all()


@untimed
@given(batches(), parameters)
def test_tversky_is_in_range_with_a_finite_gradient(batch, parameters):
    value, gradient = value_and_gradient(TverskyLoss(ignore_index=IGNORED, **parameters), *batch)
    assert 0 <= value <= 1
    assert gradient.isfinite().all()


@untimed
@given(batches(), st.floats(0, 5), st.floats(0, 5))
def test_focal_is_not_negative_and_falls_with_gamma(batch, low, high):
    low, high = sorted((low, high))
    value, gradient = value_and_gradient(FocalLoss(gamma=low, ignore_index=IGNORED), *batch)
    assert value >= 0
    assert gradient.isfinite().all()
    assert FocalLoss(gamma=high, ignore_index=IGNORED)(*batch) <= value * (1 + 1e-5) + 1e-7


@untimed
@given(batches(), parameters)
def test_more_weight_on_an_error_never_lowers_the_loss(batch, parameters):
    value = TverskyLoss(ignore_index=IGNORED, **parameters)(*batch)
    for weight in ("alpha", "beta"):
        heavier = parameters | {weight: 1.5 * parameters[weight]}
        assert TverskyLoss(ignore_index=IGNORED, **heavier)(*batch) >= value - 1e-6


@untimed
@given(batches(), parameters, st.randoms(use_true_random=False))
def test_the_order_of_classes_does_not_matter(batch, parameters, random):
    logits, target = batch
    order = list(range(logits.shape[1]))
    random.shuffle(order)
    new_label = torch.empty(256, dtype=torch.int64)
    new_label[order] = torch.arange(len(order))
    new_label[IGNORED] = IGNORED
    permuted = logits[:, order], new_label[target]
    for loss in (TverskyLoss(ignore_index=IGNORED, **parameters), FocalLoss(gamma=1.5, ignore_index=IGNORED)):
        torch.testing.assert_close(loss(*permuted), loss(*batch))


@untimed
@given(batches(), st.integers(1, 3))
def test_counts_of_parts_add_up_to_those_of_the_batch(batch, size):
    logits, target = batch
    parts = [
        torch.stack(soft_counts(*part, IGNORED)) for part in zip(logits.split(size), target.split(size), strict=True)
    ]
    whole = torch.stack(soft_counts(*batch, IGNORED))
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), whole, rtol=1e-5, atol=1e-5)


@untimed
@given(batches(), parameters, st.integers(1, 6))
def test_the_size_of_blocks_does_not_matter(batch, parameters, rows):
    region = TverskyLoss(ignore_index=IGNORED, **parameters)
    for loss in (
        region,
        CompoundLoss(pixel=FocalLoss(gamma=1.5, ignore_index=IGNORED), region=region, region_weight=0.4),
    ):
        expected = value_and_gradient(loss, *batch)
        with mock.patch.object(softmax_terms, "_rows_at_once", return_value=rows):
            torch.testing.assert_close(value_and_gradient(loss, *batch), expected)


@untimed
@given(batches())
def test_counts_share_out_the_valid_pixels(batch):
    logits, target = batch
    tp, fn, fp = soft_counts(logits, target, IGNORED)
    assert min(count.min() for count in (tp, fn, fp)) >= 0
    pixels = torch.bincount(target[target != IGNORED], minlength=logits.shape[1]).float()
    torch.testing.assert_close(tp + fn, pixels)
    assert fn.sum().item() == pytest.approx(fp.sum().item(), abs=1e-3)


@untimed
@given(batches(), parameters)
def test_ignored_pixels_add_nothing(batch, parameters):
    logits, target = batch
    ignored = (target == IGNORED)[:, None]
    others = torch.where(ignored, 50.0 * torch.rand_like(logits), logits)
    for loss in (TverskyLoss(ignore_index=IGNORED, **parameters), FocalLoss(gamma=0.7, ignore_index=IGNORED)):
        value, gradient = value_and_gradient(loss, logits, target)
        assert torch.equal(loss(others, target), value)
        assert (gradient.masked_select(ignored) == 0).all()
