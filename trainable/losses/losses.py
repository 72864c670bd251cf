"""The losses of the search: two over pixels (cross entropy, focal), three over regions (Dice, IoU, Tversky), compounds.

Every loss is called as `loss(logits_NCHW, target_NHW)` and returns a float32 scalar:

- `logits_NCHW`: unnormalised scores, any floating dtype, C >= 2. Computed in float32 whatever the dtype, also under
  autocast. They must be finite: a NaN or infinite logit makes the loss NaN.
- `target_NHW`: labels in [0, C) or `ignore_index`, any integer dtype.

Ignored pixels add nothing anywhere; a batch of nothing else gives 0 with zero gradient. No loss makes the host wait for
the device, and none holds a tensor of the logits' size beside their gradient; the gradient has their dtype and layout,
and no gradient of its own. Shapes: N images, C classes, H rows, W columns.

A batch's loss is not the mean of its parts' losses, but each loss here is a function of statistics that add up over
parts: `loss(logits, target)` is `loss.loss_from_statistics(loss.statistics(logits, target))`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainable.losses.soft_counts import (
    GammaOn,
    Labels,
    SoftCounts,
    check_shapes,
    counts_from_terms,
    power,
    soft_counts,
    split_ignored,
    tversky_loss_from_counts,
)
from trainable.losses.softmax_terms import softmax_terms

__all__ = [
    "CompoundLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "IoULoss",
    "PixelLoss",
    "RegionLoss",
    "TverskyLoss",
]

ClassWeights = Sequence[float] | Tensor


class PixelLoss(nn.Module):
    """Mean over the valid pixels of weight[t] * (1 - p_t)^gamma * (-log p_t), t being a pixel's true label.

    Args:
        gamma: Exponent that turns away from easy pixels, >= 0; 0 turns from none.
        class_weights: A positive factor for each label; None: all 1. A buffer: it moves with `to(device)`.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If gamma or a weight is out of its range.
    """

    class_weights: Tensor | None

    def __init__(self, *, gamma: float, class_weights: ClassWeights | None, ignore_index: int | None) -> None:
        super().__init__()
        _check(gamma >= 0 and math.isfinite(gamma), "gamma must be finite and >= 0", gamma, "Use 0 for cross entropy")
        self.gamma = gamma
        self.ignore_index = ignore_index
        self.register_buffer("class_weights", None if class_weights is None else _as_weights(class_weights))

    def forward(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute the loss of a batch; see the module's docstring for shapes and dtypes.

        Raises:
            ValueError: If a shape, a dtype, the number of weights or (on the CPU) a label is wrong.
        """
        return self.loss_from_statistics(self.statistics(logits_NCHW, target_NHW))

    def statistics(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute what adds up over the parts of a batch: the sum of the pixels' losses and the number of valid pixels.

        Returns:
            (2,), float32, differentiable by the logits.

        Raises:
            ValueError: As `forward`.
        """
        check_shapes(logits_NCHW, target_NHW)
        self.check_number_of_weights(logits_NCHW.shape[1])
        labels = split_ignored(target_NHW, logits_NCHW.shape[1], self.ignore_index)
        with torch.autocast(logits_NCHW.device.type, enabled=False):
            terms = softmax_terms(logits_NCHW, *labels, predicted=False)
            return self.statistics_from_log_p(terms.true_log_p, labels)

    def statistics_from_log_p(self, log_p_NHW: Tensor, labels: Labels) -> Tensor:
        """Compute the statistics of log p_t, float32, differentiable by it.

        Args:
            log_p_NHW: Logarithm of the probability of each pixel's label, anything where ignored; see `softmax_terms`.
            labels: The target, as `split_ignored` gives it.
        """
        loss_NHW = self._pixel_losses(log_p_NHW.where(labels.valid, 0.0), labels.label)
        return torch.stack((loss_NHW.sum(), labels.valid.sum().to(loss_NHW.dtype)))

    def loss_from_statistics(self, statistics: Tensor) -> Tensor:
        """Compute the loss of statistics, (2,), differentiable by them."""
        total, valid = statistics
        loss: Tensor = total / valid.clamp(min=1)
        return loss

    def _pixel_losses(self, log_p_NHW: Tensor, label_NHW: Tensor) -> Tensor:
        loss_NHW = -log_p_NHW
        if self.gamma > 0:
            loss_NHW = power(1 - log_p_NHW.exp(), self.gamma) * loss_NHW
        if self.class_weights is not None:
            loss_NHW = self.class_weights.float()[label_NHW] * loss_NHW
        return loss_NHW

    def check_number_of_weights(self, num_classes: int) -> None:
        """Refuse logits of another number of channels than there are weights.

        Raises:
            ValueError: They differ.
        """
        if self.class_weights is not None and len(self.class_weights) != num_classes:
            raise ValueError(
                f"class_weights must have one weight for each of the {num_classes} channels of the logits; "
                f"got {len(self.class_weights)}. Give a weight for every class."
            )

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"gamma={self.gamma}, {self._weights_repr()}, ignore_index={self.ignore_index}"

    def _weights_repr(self) -> str:
        if self.class_weights is None:
            return "class_weights=None"
        return f"class_weights=[{', '.join(f'{weight:g}' for weight in self.class_weights.tolist())}]"


class CrossEntropyLoss(PixelLoss):
    """Cross entropy: mean over the valid pixels of weight[t] * (-log p_t).

    With weights this is not `torch.nn.functional.cross_entropy`, which divides by the sum of the pixels' weights: there
    a batch of one class only has the same loss whatever its weight, so a rare class's weight counts for less where the
    class fills the crop. Here a pixel's weight means the same in every batch, and focal loss at gamma 0 is this loss,
    with weights too. Without weights the two conventions agree.

    Args:
        class_weights: A positive factor for each label; None: all 1.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If a weight is out of its range.
    """

    def __init__(self, *, class_weights: ClassWeights | None = None, ignore_index: int | None = None) -> None:
        super().__init__(gamma=0.0, class_weights=class_weights, ignore_index=ignore_index)

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"{self._weights_repr()}, ignore_index={self.ignore_index}"


class FocalLoss(PixelLoss):
    """Focal loss (Lin et al. 2017): mean over the valid pixels of weight[t] * (1 - p_t)^gamma * (-log p_t).

    The paper divides by the number of objects assigned to an anchor; pixels have no anchors, so this is the plain mean.
    Its alpha is our `class_weights`. At gamma 0 it is `CrossEntropyLoss` with the same weights. Where p_t = 1 the
    gradient is zero, also for gamma < 1.

    Args:
        gamma: Exponent that turns away from easy pixels, >= 0.
        class_weights: A positive factor for each label; None: all 1.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If gamma or a weight is out of its range.
    """

    def __init__(
        self, *, gamma: float, class_weights: ClassWeights | None = None, ignore_index: int | None = None
    ) -> None:
        super().__init__(gamma=gamma, class_weights=class_weights, ignore_index=ignore_index)


class RegionLoss(nn.Module):
    """A loss of the overlap between each class's true and predicted region, made of soft counts.

    `forward` is `loss_from_counts(soft_counts(...))`. The two halves are public for whoever accumulates a batch in
    parts: its loss is that of the summed counts, not the mean of its parts' losses.

    Args:
        alpha: Weight of false negatives, finite and >= 0.
        beta: Weight of false positives, finite and >= 0; alpha + beta > 0.
        gamma: Exponent, finite and > 0.
        gamma_on: "class": the exponent of each class's loss; "mean": of the mean over classes.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If a value is out of its range.
    """

    def __init__(
        self,
        *,
        alpha: float,
        beta: float,
        gamma: float = 1.0,
        gamma_on: GammaOn = "class",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        _check(alpha >= 0 and math.isfinite(alpha), "alpha must be finite and >= 0", alpha, "Try 0.7")
        _check(beta >= 0 and math.isfinite(beta), "beta must be finite and >= 0", beta, "Try 0.3")
        _check(alpha + beta > 0, "alpha + beta must be > 0", alpha + beta, "Weigh at least one kind of error")
        _check(gamma > 0 and math.isfinite(gamma), "gamma must be finite and > 0", gamma, "Use 1 for no exponent")
        _check(gamma_on in ("class", "mean"), "gamma_on must be 'class' or 'mean'", repr(gamma_on), "Use 'class'")
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.gamma_on: GammaOn = gamma_on
        self.ignore_index = ignore_index

    def forward(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute the loss of a batch, in [0, 1]; see the module's docstring for shapes and dtypes.

        Raises:
            ValueError: If a shape, a dtype or (on the CPU) a label is wrong.
        """
        return self.loss_from_counts(self.soft_counts(logits_NCHW, target_NHW))

    def soft_counts(self, logits_NCHW: Tensor, target_NHW: Tensor) -> SoftCounts:
        """Count a batch or a part of one; see `trainable.losses.soft_counts.soft_counts`."""
        return soft_counts(logits_NCHW, target_NHW, self.ignore_index)

    def statistics(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute what adds up over the parts of a batch: the soft counts, (3, C), float32.

        Raises:
            ValueError: As `forward`.
        """
        return torch.stack(self.soft_counts(logits_NCHW, target_NHW))

    def loss_from_statistics(self, statistics: Tensor) -> Tensor:
        """Compute the loss of statistics, (3, C), differentiable by them."""
        return self.loss_from_counts(SoftCounts(*statistics))

    def loss_from_counts(self, counts: SoftCounts) -> Tensor:
        """Compute the loss of counts, differentiable by them; see `tversky_loss_from_counts`."""
        return tversky_loss_from_counts(
            *counts, alpha=self.alpha, beta=self.beta, gamma=self.gamma, gamma_on=self.gamma_on
        )

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return (
            f"alpha={self.alpha}, beta={self.beta}, gamma={self.gamma}, gamma_on={self.gamma_on!r}, "
            f"ignore_index={self.ignore_index}"
        )


class DiceLoss(RegionLoss):
    """Soft Dice loss (Milletari et al. 2016): mean over classes of 1 - 2 TP / (2 TP + FN + FP).

    Tversky at alpha = beta = 0.5. Probabilities are not squared in the denominator, as the paper's are.

    Args:
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.
    """

    def __init__(self, *, ignore_index: int | None = None) -> None:
        super().__init__(alpha=0.5, beta=0.5, ignore_index=ignore_index)

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"ignore_index={self.ignore_index}"


class IoULoss(RegionLoss):
    """Soft IoU loss (Rahman & Wang 2016): mean over classes of 1 - TP / (TP + FN + FP).

    Tversky at alpha = beta = 1.

    Args:
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.
    """

    def __init__(self, *, ignore_index: int | None = None) -> None:
        super().__init__(alpha=1.0, beta=1.0, ignore_index=ignore_index)

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"ignore_index={self.ignore_index}"


class TverskyLoss(RegionLoss):
    """Tversky loss (Salehi et al. 2017), focal with gamma (Abraham & Khan 2019).

    T_c = TP / (TP + alpha FN + beta FP), from soft counts summed over the batch and its pixels; the loss is
    mean_c (1 - T_c)^gamma with `gamma_on="class"` and (mean_c (1 - T_c))^gamma with "mean". A class absent from the
    batch has zero loss, and the mean divides by all classes.

    **alpha weights false negatives, beta false positives**, as in Abraham & Khan. Salehi et al. and
    segmentation_models_pytorch have them the other way round: swap the values when you take them from there. Raise
    alpha to stop rare classes from being missed. Abraham & Khan write the exponent as 1/gamma; ours is gamma.

    `gamma_on="class"` changes which classes the gradient favours (gamma > 1: the badly segmented ones); "mean" only
    rescales the gradient.

    Args:
        alpha: Weight of false negatives, finite and >= 0.
        beta: Weight of false positives, finite and >= 0; alpha + beta > 0.
        gamma: Exponent, finite and > 0.
        gamma_on: "class": the exponent of each class's loss; "mean": of the mean over classes.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If a value is out of its range.
    """

    def __init__(
        self,
        *,
        alpha: float,
        beta: float,
        gamma: float = 1.0,
        gamma_on: GammaOn = "class",
        ignore_index: int | None = None,
    ) -> None:
        super().__init__(alpha=alpha, beta=beta, gamma=gamma, gamma_on=gamma_on, ignore_index=ignore_index)


class CompoundLoss(nn.Module):
    """A pixel loss and a region loss together: (1 - w) * pixel + w * region.

    Ma et al. 2021 ("Loss odyssey in medical image segmentation") compared twenty losses on four tasks: none was best on
    all, and compounds of Dice with another term were the most robust. The pixel term has a gradient at every pixel from
    the first step on; the region term weighs every class alike, however few its pixels are.

    The terms share one softmax, so that a compound does not cost what both cost apart.

    Args:
        pixel: The term over pixels.
        region: The term over regions, with the `ignore_index` of the other.
        region_weight: w, in 0..1.

    Attributes:
        pixel: As given. A whole batch's value is the mean of its parts', weighted by their valid pixels.
        region: As given. A whole batch's value is that of its parts' summed counts; see `RegionLoss`.

    Raises:
        ValueError: If the weight is out of its range, a term is of the wrong kind, or the terms ignore other labels.
    """

    def __init__(self, *, pixel: PixelLoss, region: RegionLoss, region_weight: float) -> None:
        super().__init__()
        _check(isinstance(pixel, PixelLoss), "pixel must be a PixelLoss", pixel, "Use CrossEntropyLoss or FocalLoss")
        _check(isinstance(region, RegionLoss), "region must be a RegionLoss", region, "Use DiceLoss or TverskyLoss")
        _check(0 <= region_weight <= 1, "region_weight must be in 0..1", region_weight, "Try 0.5")
        ignored = (pixel.ignore_index, region.ignore_index)
        rule = "pixel and region must have the same ignore_index"
        _check(ignored[0] == ignored[1], rule, f"{ignored[0]} and {ignored[1]}", "Give both the label that is ignored")
        self.pixel = pixel
        self.region = region
        self.region_weight = region_weight

    def forward(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute the loss of a batch; see the module's docstring for shapes and dtypes.

        Raises:
            ValueError: If a shape, a dtype, the number of weights or (on the CPU) a label is wrong.
        """
        return self._combine(*self.terms(logits_NCHW, target_NHW))

    def terms(self, logits_NCHW: Tensor, target_NHW: Tensor) -> tuple[Tensor, SoftCounts]:
        """Compute what the terms are made of: the pixel loss and the soft counts, of a batch or a part of one.

        Raises:
            ValueError: As `forward`.
        """
        statistics, counts = self._count(logits_NCHW, target_NHW)
        return self.pixel.loss_from_statistics(statistics), counts

    def statistics(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute what adds up over the parts of a batch: the statistics of both terms, (2 + 3 * C,), float32.

        Raises:
            ValueError: As `forward`.
        """
        pixel, counts = self._count(logits_NCHW, target_NHW)
        return torch.cat((pixel, *counts))

    def loss_from_statistics(self, statistics: Tensor) -> Tensor:
        """Compute the loss of statistics, (2 + 3 * C,), differentiable by them."""
        return self._combine(self.pixel.loss_from_statistics(statistics[:2]), SoftCounts(*statistics[2:].view(3, -1)))

    def _combine(self, pixel: Tensor, counts: SoftCounts) -> Tensor:
        return (1 - self.region_weight) * pixel + self.region_weight * self.region.loss_from_counts(counts)

    def _count(self, logits_NCHW: Tensor, target_NHW: Tensor) -> tuple[Tensor, SoftCounts]:
        check_shapes(logits_NCHW, target_NHW)
        self.pixel.check_number_of_weights(logits_NCHW.shape[1])
        labels = split_ignored(target_NHW, logits_NCHW.shape[1], self.pixel.ignore_index)
        with torch.autocast(logits_NCHW.device.type, enabled=False):
            terms = softmax_terms(logits_NCHW, *labels, predicted=True)
            return self.pixel.statistics_from_log_p(terms.true_log_p, labels), counts_from_terms(terms, labels)

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"region_weight={self.region_weight}"


def _check(holds: bool, rule: str, value: object, remedy: str) -> None:
    if not holds:
        raise ValueError(f"{rule}; got {value}. {remedy}.")


def _as_weights(class_weights: ClassWeights) -> Tensor:
    weights = torch.as_tensor(class_weights, dtype=torch.float32).detach().clone()
    rule = "class_weights must be a list of positive finite numbers, one for each class"
    _check(weights.ndim == 1 and len(weights) > 0, rule, f"shape {tuple(weights.shape)}", "Pass a flat list")
    wrong = weights[~(weights.isfinite() & (weights > 0))].tolist()
    _check(not wrong, rule, wrong, "To leave a class out altogether, ignore its label")
    return weights
