"""Soft counts of a batch and the Tversky loss that is made of them: one implementation for Dice, IoU and Tversky.

The two steps are separate on purpose. Counts add up: those of a batch are the sum of its micro-batches' counts, while
its loss is not the mean of their losses. Whoever splits a batch sums the counts first, then asks
`tversky_loss_from_counts` for the loss and its derivative by the counts.

Shapes: N images, C classes, H rows, W columns; R = N * H rows of the whole batch. A class's label is its channel.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from trainable.losses.softmax_terms import SoftmaxTerms, softmax_terms

GammaOn = Literal["class", "mean"]


class SoftCounts(NamedTuple):
    """Pixels counted by their probabilities, summed over a batch, per class.

    Attributes:
        tp: True positives: probability of the class on its own pixels. (C,), float32, >= 0.
        fn: False negatives: what its own pixels gave to other classes. (C,), float32, >= 0.
        fp: False positives: what it took of the other classes' pixels. (C,), float32, >= 0.
    """

    tp: Tensor
    fn: Tensor
    fp: Tensor


class Labels(NamedTuple):
    """A target made safe to index with.

    Attributes:
        label: Labels, 0 where ignored. (N, H, W), int64.
        valid: False where ignored. (N, H, W), bool.
    """

    label: Tensor
    valid: Tensor


def check_shapes(logits_NCHW: Tensor, target_NHW: Tensor) -> None:
    """Refuse what would broadcast, or mean something else, without a word.

    Args:
        logits_NCHW: Unnormalised scores, any floating dtype, C >= 2.
        target_NHW: Labels, any integer dtype.

    Raises:
        ValueError: If a shape or a dtype is wrong; the message says which and what to do.
    """
    if logits_NCHW.ndim != 4 or logits_NCHW.shape[1] < 2:
        raise ValueError(
            f"logits must be (N, C, H, W) with a channel for each of at least 2 classes; "
            f"got {tuple(logits_NCHW.shape)}. Give the model one output channel a class."
        )
    if not logits_NCHW.is_floating_point():
        raise ValueError(f"logits must be floating point; got {logits_NCHW.dtype}. Pass the scores, not the labels.")
    n, _, height, width = logits_NCHW.shape
    if target_NHW.shape != (n, height, width):
        raise ValueError(
            f"target must be (N, H, W) = {(n, height, width)} for logits {tuple(logits_NCHW.shape)}; "
            f"got {tuple(target_NHW.shape)}. Pass one label a pixel, neither one-hot nor with a channel axis."
        )
    if target_NHW.is_floating_point() or target_NHW.is_complex() or target_NHW.dtype == torch.bool:
        raise ValueError(f"target must have an integer dtype; got {target_NHW.dtype}. Pass labels as uint8 or int64.")


def split_ignored(target_NHW: Tensor, num_classes: int, ignore_index: int | None) -> Labels:
    """Separate the labels from where they count.

    Args:
        target_NHW: Labels in [0, num_classes) or `ignore_index`. (N, H, W), any integer dtype.
        num_classes: C.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If a label is out of range. Only on the CPU: elsewhere the check would make the host wait for the
            device, and the indexing that follows fails on the device instead.
    """
    label_NHW = target_NHW.long()
    if ignore_index is None:
        valid_NHW = torch.ones_like(label_NHW, dtype=torch.bool)
    else:
        valid_NHW = label_NHW != ignore_index
        label_NHW = label_NHW.where(valid_NHW, 0)
    if label_NHW.device.type == "cpu" and label_NHW.numel() and not torch.compiler.is_compiling():
        _check_labels(label_NHW, num_classes, ignore_index)
    return Labels(label_NHW, valid_NHW)


def _check_labels(label_NHW: Tensor, num_classes: int, ignore_index: int | None) -> None:
    for label in torch.stack(torch.aminmax(label_NHW)).tolist():
        if not 0 <= label < num_classes:
            raise ValueError(
                f"target labels must be in 0..{num_classes - 1} or be ignore_index ({ignore_index}); got {label}. "
                f"Name the ignored label, or give the model a channel for each class."
            )


def soft_counts(logits_NCHW: Tensor, target_NHW: Tensor, ignore_index: int | None = None) -> SoftCounts:
    """Count a batch's pixels by their softmax probabilities, in float32, without a one-hot tensor.

    With p_c the probability of class c and t the true label, over the valid pixels: TP_c sums p_c where t = c, FN_c is
    the number of pixels of c less TP_c, and FP_c is the sum of p_c everywhere less TP_c.

    Args:
        logits_NCHW: Unnormalised scores, any floating dtype; autocast has no effect.
        target_NHW: Labels in [0, C) or `ignore_index`, any integer dtype.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Returns:
        The counts, differentiable by the logits, once; they add up over parts of a batch. FN and FP are differences of
        sums: right to about 1e-7 of the class's true or predicted pixels, in any batch size.

    Raises:
        ValueError: If a shape, a dtype or (on the CPU) a label is wrong.
    """
    check_shapes(logits_NCHW, target_NHW)
    labels = split_ignored(target_NHW, logits_NCHW.shape[1], ignore_index)
    with torch.autocast(logits_NCHW.device.type, enabled=False):
        return counts_from_terms(softmax_terms(logits_NCHW, *labels, predicted=True), labels)


def counts_from_terms(terms: SoftmaxTerms, labels: Labels) -> SoftCounts:
    """The second half of `soft_counts`, for whoever has the softmax's terms already."""
    num_classes = len(terms.predicted)
    tp = _sum_by_label(terms.true_log_p.exp(), labels.label, num_classes)
    pixels = _sum_by_label(labels.valid.to(tp.dtype), labels.label, num_classes)
    # Rounding alone can take a difference below 0, where a later power would be NaN.
    return SoftCounts(tp, fn=(pixels - tp).clamp(min=0), fp=(terms.predicted - tp).clamp(min=0))


def _sum_by_label(value_NHW: Tensor, label_NHW: Tensor, num_classes: int) -> Tensor:
    """Sum values by label, first within each row of pixels, then over rows.

    One float32 bin a class would swallow what is added to it once it holds millions of pixels; a row's bins stay small.
    (They also keep a GPU's atomic additions apart. `bincount` would make the host wait, and has no gradient.)
    """
    label_RW, value_RW = label_NHW.flatten(0, 1), value_NHW.flatten(0, 1)
    sum_RC = value_RW.new_zeros(value_RW.shape[0], num_classes).scatter_add(1, label_RW, value_RW)
    return sum_RC.sum(dim=0)


def tversky_loss_from_counts(
    tp: Tensor,
    fn: Tensor,
    fp: Tensor,
    *,
    alpha: float,
    beta: float,
    gamma: float = 1.0,
    gamma_on: GammaOn = "class",
) -> Tensor:
    """Turn counts into the Tversky loss, a pure function and differentiable by the counts.

    T_c = TP / (TP + alpha FN + beta FP). With `gamma_on="class"` the loss is mean_c (1 - T_c)^gamma, with "mean" it is
    (mean_c (1 - T_c))^gamma. A class absent from the counts (TP = FN = 0) has zero loss before the power, and the mean
    divides by all classes. A present class with 0/0 (alpha = 0, nothing predicted) has T = 0.

    Args:
        tp: True positives, (C,), any floating dtype, >= 0.
        fn: False negatives, likewise.
        fp: False positives, likewise.
        alpha: Weight of false negatives, >= 0.
        beta: Weight of false positives, >= 0; alpha + beta > 0.
        gamma: Exponent, > 0.
        gamma_on: What the exponent is applied to.

    Returns:
        A scalar in [0, 1] of the counts' dtype. Where a loss is zero, so is its gradient, also for gamma < 1.
    """
    loss_C = _class_losses(tp, fn, fp, alpha, beta)
    if gamma_on == "mean":
        return power(loss_C.mean(), gamma)
    return power(loss_C, gamma).mean()


def _class_losses(tp: Tensor, fn: Tensor, fp: Tensor, alpha: float, beta: float) -> Tensor:
    """1 - T per class as a ratio of sums: never negative, and exact where T is near 1."""
    errors = alpha * fn + beta * fp
    total = tp + errors
    absent = tp + fn == 0  # false for NaN, which must reach the loss
    undefined = total < torch.finfo(total.dtype).tiny
    ratio = errors / torch.where(absent | undefined, 1.0, total)
    return torch.where(absent, 0.0, torch.where(undefined, 1.0, ratio))


def power(base: Tensor, exponent: float) -> Tensor:
    """Raise base >= 0 to an exponent > 0, with gradient 0 at base 0, where autograd's may be infinite."""
    zero = base < torch.finfo(base.dtype).tiny
    return torch.where(zero, 0.0, torch.where(zero, 1.0, base) ** exponent)
