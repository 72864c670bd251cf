"""Losses over regions: Dice, IoU and Tversky, made of soft counts."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from trainable.losses.additive import AdditiveLoss
from trainable.losses.argument_check import require
from trainable.losses.soft_counts import GammaOn, SoftCounts, soft_counts, tversky_loss_from_counts


class RegionLoss(AdditiveLoss):
    """A loss of the overlap between each class's true and predicted region, made of soft counts.

    `forward`, in [0, 1], is `loss_from_counts(soft_counts(...))`. The two halves are public for whoever accumulates a
    batch in parts: its loss is that of the summed counts, not the mean of its parts' losses.

    Args:
        alpha: Weight of false negatives, finite and >= 0.
        beta: Weight of false positives, finite and >= 0; alpha + beta > 0.
        gamma: Exponent, finite and > 0.
        gamma_on: "class": the exponent of each class's loss; "mean": of the mean over classes.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If a value is out of its range.
    """

    any_dtype = True

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
        require(alpha >= 0 and math.isfinite(alpha), "alpha must be finite and >= 0", alpha, "Try 0.7")
        require(beta >= 0 and math.isfinite(beta), "beta must be finite and >= 0", beta, "Try 0.3")
        require(alpha + beta > 0, "alpha + beta must be > 0", alpha + beta, "Weigh at least one kind of error")
        require(gamma > 0 and math.isfinite(gamma), "gamma must be finite and > 0", gamma, "Use 1 for no exponent")
        require(gamma_on in ("class", "mean"), "gamma_on must be 'class' or 'mean'", repr(gamma_on), "Use 'class'")
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.gamma_on: GammaOn = gamma_on
        self.ignore_index = ignore_index

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


class _EqualErrorsLoss(RegionLoss):
    """A region loss in which false negatives and false positives weigh the same.

    Args:
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.
    """

    weight: ClassVar[float]

    def __init__(self, *, ignore_index: int | None = None) -> None:
        super().__init__(alpha=self.weight, beta=self.weight, ignore_index=ignore_index)

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"ignore_index={self.ignore_index}"


class DiceLoss(_EqualErrorsLoss):
    """Soft Dice loss (Milletari et al. 2016): mean over classes of 1 - 2 TP / (2 TP + FN + FP).

    Tversky at alpha = beta = 0.5. Probabilities are not squared in the denominator, as the paper's are.

    Args:
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.
    """

    any_dtype = True

    weight = 0.5


class IoULoss(_EqualErrorsLoss):
    """Soft IoU loss (Rahman & Wang 2016): mean over classes of 1 - TP / (TP + FN + FP).

    Tversky at alpha = beta = 1.

    Args:
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.
    """

    any_dtype = True

    weight = 1.0


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

    any_dtype = True
