"""Every loss, its value and its gradient, against loops written from the definitions in float64."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss, softmax_terms
from trainable.losses.class_weights import MAX_RATIO, class_weights
from trainable.losses.soft_counts import SoftCounts, soft_counts, tversky_loss_from_counts

IGNORED = 255
WEIGHTS = [0.5, 2.0, 1.25, 7.0]


def softmax(scores):
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def labelled_pixels(logits, target, ignore_index):
    """(probabilities, label) of each valid pixel."""
    n, _, height, width = logits.shape
    for i, y, x in itertools.product(range(n), range(height), range(width)):
        if target[i, y, x] != ignore_index:
            yield softmax(list(logits[i, :, y, x])), int(target[i, y, x])


def naive_pixel_loss(logits, target, ignore_index, gamma=0.0, weights=None):
    losses = []
    for probabilities, label in labelled_pixels(logits, target, ignore_index):
        p = probabilities[label]
        losses.append((weights[label] if weights else 1.0) * (1 - p) ** gamma * -math.log(p))
    return sum(losses) / len(losses) if losses else 0.0


def naive_counts(logits, target, ignore_index):
    tp, fn, fp = ([0.0] * logits.shape[1] for _ in range(3))
    for probabilities, label in labelled_pixels(logits, target, ignore_index):
        for c, p in enumerate(probabilities):
            if c == label:
                tp[c] += p
                fn[c] += 1 - p
            else:
                fp[c] += p
    return tp, fn, fp


def naive_tversky_loss(logits, target, ignore_index, alpha, beta, gamma=1.0, gamma_on="class"):
    occurring = {label for _, label in labelled_pixels(logits, target, ignore_index)}
    losses = []
    for c, (tp, fn, fp) in enumerate(zip(*naive_counts(logits, target, ignore_index), strict=True)):
        losses.append(1 - tp / (tp + alpha * fn + beta * fp) if c in occurring else 0.0)
    if gamma_on == "mean":
        return (sum(losses) / len(losses)) ** gamma
    return sum(loss**gamma for loss in losses if loss > 0) / len(losses)


def naive_compound_loss(logits, target, ignore_index, region_weight, pixel, region):
    pixel_value = naive_pixel_loss(logits, target, ignore_index, **pixel)
    return (1 - region_weight) * pixel_value + region_weight * naive_tversky_loss(
        logits, target, ignore_index, **region
    )


def naive_class_weights(counts, power):
    raw = [min((max(counts) / count) ** power, MAX_RATIO) if count else 1.0 for count in counts]
    mean = sum(count * weight for count, weight in zip(counts, raw, strict=True)) / sum(counts)
    return [weight / mean for weight in raw]


def naive_gradient(naive_loss, logits, step=1e-5):
    gradient = np.zeros_like(logits)
    for index in np.ndindex(logits.shape):
        moved = [logits.copy(), logits.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        gradient[index] = (naive_loss(moved[0]) - naive_loss(moved[1])) / (2 * step)
    return gradient


def value_and_gradient(loss, logits, target, dtype=torch.float32):
    logits = torch.as_tensor(logits).to(dtype, copy=True).requires_grad_()
    value = loss(logits, torch.as_tensor(target))
    value.backward()
    return value.item(), logits.grad.double().numpy()


def make_batch(case):
    """Logits (2, 4, 3, 5) in float64 and a target that goes with them."""
    rng = np.random.default_rng(7)
    logits = 2 * rng.standard_normal((2, 4, 3, 5))
    target = rng.integers(0, 4, (2, 3, 5))
    if case == "ignored":
        target[rng.random(target.shape) < 0.3] = IGNORED
    elif case == "absent":  # class 2 nowhere, class 3 in one pixel only
        target = rng.integers(0, 2, (2, 3, 5))
        target[1, 2, 4] = 3
    elif case == "absent behind ignored":
        target[target == 1] = IGNORED
    elif case == "one image ignored":
        target[0] = IGNORED
    elif case == "all ignored":
        target[:] = IGNORED
    elif case == "one class at zero loss":  # softmax underflows to exactly 0 and 1 in float32
        logits[:, 0] = np.where(target == 0, 200.0, -200.0)
    return logits, target


CASES = [
    "full",
    "ignored",
    "absent",
    "absent behind ignored",
    "one image ignored",
    "all ignored",
    "one class at zero loss",
]


def compound(*, region_weight, pixel, region, ignore_index):
    """The loss whose definition is `naive_compound_loss`."""
    weights = {"class_weights" if key == "weights" else key: value for key, value in pixel.items()}
    pixel_loss = FocalLoss(**{"gamma": 0.0} | weights, ignore_index=ignore_index)
    region_loss = TverskyLoss(**region, ignore_index=ignore_index)
    return CompoundLoss(pixel=pixel_loss, region=region_loss, region_weight=region_weight)


LOSSES = {
    "cross entropy": (CrossEntropyLoss, naive_pixel_loss, {}),
    "weighted cross entropy": (CrossEntropyLoss, naive_pixel_loss, {"weights": WEIGHTS}),
    "focal": (FocalLoss, naive_pixel_loss, {"gamma": 2.5}),
    "focal, gamma 0": (FocalLoss, naive_pixel_loss, {"gamma": 0.0}),
    "focal, gamma < 1": (FocalLoss, naive_pixel_loss, {"gamma": 0.4}),
    "weighted focal": (FocalLoss, naive_pixel_loss, {"gamma": 1.3, "weights": WEIGHTS}),
    "dice": (DiceLoss, lambda *batch: naive_tversky_loss(*batch, 0.5, 0.5), {}),
    "iou": (IoULoss, lambda *batch: naive_tversky_loss(*batch, 1.0, 1.0), {}),
    "tversky": (TverskyLoss, naive_tversky_loss, {"alpha": 0.8, "beta": 0.15}),
    "tversky, alpha only": (TverskyLoss, naive_tversky_loss, {"alpha": 0.6, "beta": 0.0}),
    "tversky, beta only": (TverskyLoss, naive_tversky_loss, {"alpha": 0.0, "beta": 0.6}),
    "class gamma": (TverskyLoss, naive_tversky_loss, {"alpha": 0.7, "beta": 0.2, "gamma": 1.7, "gamma_on": "class"}),
    "class gamma < 1": (TverskyLoss, naive_tversky_loss, {"alpha": 0.3, "beta": 0.9, "gamma": 0.6}),
    "mean gamma": (TverskyLoss, naive_tversky_loss, {"alpha": 0.7, "beta": 0.2, "gamma": 1.7, "gamma_on": "mean"}),
    "mean gamma < 1": (TverskyLoss, naive_tversky_loss, {"alpha": 0.3, "beta": 0.9, "gamma": 0.6, "gamma_on": "mean"}),
    "compound": (
        compound,
        naive_compound_loss,
        {"region_weight": 0.3, "pixel": {"weights": WEIGHTS}, "region": {"alpha": 0.5, "beta": 0.5}},
    ),
    "compound of focal and class gamma": (
        compound,
        naive_compound_loss,
        {
            "region_weight": 0.85,
            "pixel": {"gamma": 1.7, "weights": WEIGHTS},
            "region": {"alpha": 0.8, "beta": 0.15, "gamma": 1.4},
        },
    ),
    "compound of focal and mean gamma": (
        compound,
        naive_compound_loss,
        {
            "region_weight": 0.6,
            "pixel": {"gamma": 0.4},
            "region": {"alpha": 0.3, "beta": 0.9, "gamma": 0.6, "gamma_on": "mean"},
        },
    ),
}


def build(name):
    loss_class, naive, parameters = LOSSES[name]
    renamed = {"class_weights" if key == "weights" else key: value for key, value in parameters.items()}
    return loss_class(ignore_index=IGNORED, **renamed), lambda *batch: naive(*batch, IGNORED, **parameters)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_match_the_definition(name, case):
    loss, naive = build(name)
    logits, target = make_batch(case)
    value, gradient = value_and_gradient(loss, logits, target)
    assert value == pytest.approx(naive(logits, target), rel=2e-6, abs=1e-7)
    expected = naive_gradient(lambda moved: naive(moved, target), logits)
    np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=2e-7)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_match_the_definition_in_blocks(name, memory_format, monkeypatch):
    monkeypatch.setattr(softmax_terms, "_rows_at_once", lambda logits: 2)  # of the batch's three rows
    loss, naive = build(name)
    logits, target = make_batch("ignored")
    value, gradient = value_and_gradient(loss, torch.as_tensor(logits).to(memory_format=memory_format), target)
    assert value == pytest.approx(naive(logits, target), rel=2e-6, abs=1e-7)
    expected = naive_gradient(lambda moved: naive(moved, target), logits)
    np.testing.assert_allclose(gradient, expected, rtol=2e-4, atol=2e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_logits_are_computed_in_float32(name):
    loss, naive = build(name)
    logits, target = make_batch("ignored")
    rounded = torch.as_tensor(logits).bfloat16()
    value, gradient = value_and_gradient(loss, rounded, target, torch.bfloat16)
    assert value == pytest.approx(naive(rounded.double().numpy(), target), rel=2e-6)
    expected = naive_gradient(lambda moved: naive(moved, target), rounded.double().numpy())
    np.testing.assert_allclose(gradient, expected, rtol=2**-8, atol=2e-7)  # the gradient is rounded to bfloat16


def test_alpha_weights_false_negatives_and_beta_false_positives():
    # Four pixels of class 0, one of them given to class 1: class 0 has one false negative, class 1 one false positive.
    target = torch.tensor([[[0, 0, 0, 0, 1, 1]]])
    predicted = torch.tensor([[[0, 0, 0, 1, 1, 1]]])
    logits = 200.0 * F.one_hot(predicted, 2).permute(0, 3, 1, 2).float()
    alpha, beta = 0.9, 0.2
    expected = ((1 - 3 / (3 + 1 * alpha)) + (1 - 2 / (2 + 1 * beta))) / 2
    assert TverskyLoss(alpha=alpha, beta=beta)(logits, target).item() == pytest.approx(expected, rel=1e-6)
    assert TverskyLoss(alpha=beta, beta=alpha)(logits, target).item() != pytest.approx(expected, rel=1e-2)


def test_absent_classes_still_divide_the_mean():
    target = torch.zeros(1, 2, 2, dtype=torch.int64)
    logits = torch.zeros(1, 4, 2, 2)  # p = 1/4 everywhere: class 0 has tp = 1, fn = 3, fp = 0
    assert IoULoss()(logits, target).item() == pytest.approx((1 - 1 / 4) / 4, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("gamma_on", ["class", "mean"])
def test_zero_tversky_loss_has_zero_gradient(gamma, gamma_on):
    target = make_batch("ignored")[1]
    logits = 200.0 * F.one_hot(torch.as_tensor(target % IGNORED), 4).permute(0, 3, 1, 2).double().numpy()
    loss = TverskyLoss(alpha=0.7, beta=0.2, gamma=gamma, gamma_on=gamma_on, ignore_index=IGNORED)
    value, gradient = value_and_gradient(loss, logits, target)
    assert value == 0.0
    assert (gradient == 0.0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_zero_focal_loss_has_zero_gradient(gamma):
    target = make_batch("full")[1]
    logits = 200.0 * F.one_hot(torch.as_tensor(target), 4).permute(0, 3, 1, 2).double().numpy()
    value, gradient = value_and_gradient(FocalLoss(gamma=gamma), logits, target)
    assert value == 0.0
    assert (gradient == 0.0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_confident_and_wrong_stays_finite(name):
    target = make_batch("ignored")[1]
    wrong = torch.as_tensor((target + 1) % IGNORED % 4)
    logits = 200.0 * F.one_hot(wrong, 4).permute(0, 3, 1, 2).double().numpy()
    value, gradient = value_and_gradient(build(name)[0], logits, target)
    assert value > 0.99
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("where", [(0, slice(None), 0, 0), ...], ids=["one pixel", "everywhere"])
@pytest.mark.parametrize("name", LOSSES)
def test_nan_logits_give_a_nan_loss(name, where):
    logits, target = make_batch("full")
    logits[where] = math.nan
    assert math.isnan(build(name)[0](torch.as_tensor(logits), torch.as_tensor(target)).item())


def test_unweighted_cross_entropy_is_torchs():
    logits, target = map(torch.as_tensor, make_batch("ignored"))
    expected = F.cross_entropy(logits, target, ignore_index=IGNORED).item()
    assert CrossEntropyLoss(ignore_index=IGNORED)(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_weights_mean_the_same_in_every_batch():
    # torch's weighted mean divides by the sum of the weights, so that a batch of one class loses its weight.
    logits = torch.as_tensor(make_batch("full")[0])
    target = torch.full((2, 3, 5), 3)
    unweighted = CrossEntropyLoss()(logits, target)
    torch.testing.assert_close(CrossEntropyLoss(class_weights=WEIGHTS)(logits, target), WEIGHTS[3] * unweighted)
    weight = torch.tensor(WEIGHTS, dtype=logits.dtype)
    torch.testing.assert_close(F.cross_entropy(logits, target, weight).float(), unweighted)


def test_soft_counts_match_the_definition():
    logits, target = make_batch("ignored")
    counts = soft_counts(torch.as_tensor(logits), torch.as_tensor(target), IGNORED)
    np.testing.assert_allclose(np.array(counts), np.array(naive_counts(logits, target, IGNORED)), rtol=2e-6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_soft_counts_of_a_large_batch_lose_nothing_to_rounding(memory_format):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 512, 1024, generator=generator).to(memory_format=memory_format)
    target = (torch.rand(2, 512, 1024, generator=generator) < 1e-4).long()
    tp, fn, fp = (count.double() for count in soft_counts(logits, target))
    probability = logits.double().softmax(dim=1)
    truth = F.one_hot(target, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(tp, (probability * truth).sum(dim=(0, 2, 3)), rtol=5e-7, atol=0)
    torch.testing.assert_close(fn, ((1 - probability) * truth).sum(dim=(0, 2, 3)), rtol=5e-7, atol=0)
    # A difference of sums: right to float32's share of the predicted pixels, half a million of a class here.
    torch.testing.assert_close(fp, (probability * (1 - truth)).sum(dim=(0, 2, 3)), rtol=5e-7, atol=0.1)


@pytest.mark.parametrize("gamma_on", ["class", "mean"])
def test_the_derivative_by_the_counts_is_right(gamma_on):
    counts = torch.tensor([[5.0, 2.0, 0.0, 0.7], [1.0, 0.5, 0.0, 3.0], [0.2, 1.5, 0.8, 0.1]], dtype=torch.float64)

    def loss(tp, fn, fp):
        return tversky_loss_from_counts(tp, fn, fp, alpha=0.7, beta=0.2, gamma=1.4, gamma_on=gamma_on)

    present = counts[:, [0, 1, 3]]  # at an absent class, the loss jumps with the first true pixel
    assert torch.autograd.gradcheck(loss, tuple(present.clone().requires_grad_().unbind()))
    counts.requires_grad_()
    loss(*counts).backward()
    assert (counts.grad[:, 2] == 0).all()


def test_two_passes_over_parts_give_the_whole_batchs_gradient():
    logits, target = map(torch.as_tensor, make_batch("ignored"))
    loss = TverskyLoss(alpha=0.7, beta=0.2, gamma=1.4, ignore_index=IGNORED)
    whole = logits.float().requires_grad_()
    loss(whole, target).backward()

    parts = [part.requires_grad_() for part in logits.float().split(1)]
    with torch.no_grad():
        total = torch.stack([torch.stack(loss.soft_counts(*part)) for part in zip(parts, target.split(1), strict=True)])
    total = total.sum(dim=0).requires_grad_()
    loss.loss_from_counts(type(loss.soft_counts(whole, target))(*total)).backward()
    for part, labels in zip(parts, target.split(1), strict=True):
        torch.stack(loss.soft_counts(part, labels)).backward(total.grad)
    torch.testing.assert_close(torch.cat([part.grad for part in parts]), whole.grad)


def terms_of(loss, logits, target):
    """The pixel loss and the soft counts of a part."""
    statistics = loss.statistics(logits, target)
    return loss.pixel.loss_from_statistics(statistics[:2]), statistics[2:].view(3, -1)


def test_two_passes_over_parts_give_the_whole_batchs_gradient_of_a_compound():
    logits, target = map(torch.as_tensor, make_batch("ignored"))
    loss = build("compound of focal and class gamma")[0]
    whole = logits.float().requires_grad_()
    loss(whole, target).backward()

    parts = list(zip([part.requires_grad_() for part in logits.float().split(1)], target.split(1), strict=True))
    with torch.no_grad():
        total = torch.stack([terms_of(loss, *part)[1] for part in parts]).sum(dim=0).requires_grad_()
    loss.region.loss_from_counts(SoftCounts(*total)).backward()
    for part, labels in parts:
        pixel, counts = terms_of(loss, part, labels)
        share = (labels != IGNORED).sum() / (target != IGNORED).sum()
        region = (counts * total.grad).sum()
        ((1 - loss.region_weight) * share * pixel + loss.region_weight * region).backward()
    torch.testing.assert_close(torch.cat([part.grad for part, _ in parts]), whole.grad)


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(
    "counts", [[700, 40, 3000, 9], [5, 0, 800, 0], [10**12, 1, 10**9, 0], [3, 3, 3]], ids=lambda counts: str(counts)
)
def test_class_weights_match_the_definition(counts, power):
    weights = class_weights(np.array(counts, dtype=np.int64), power)
    np.testing.assert_allclose(weights, naive_class_weights(counts, power), rtol=1e-12)


def test_nothing_predicted_where_misses_are_free_is_full_loss():
    # T = 0/0 at alpha = 0: precision of a class that was never predicted.
    logits = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1)
    value, gradient = value_and_gradient(TverskyLoss(alpha=0.0, beta=1.0), logits, torch.ones(1, 1, 1).long())
    assert value == 0.5  # class 1 in full, class 0 absent
    assert np.isfinite(gradient).all()
