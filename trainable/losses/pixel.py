"""Losses over pixels: cross entropy and focal."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from trainable.losses.additive import AdditiveLoss
from trainable.losses.argument_check import require
from trainable.losses.soft_counts import Labels, check_shapes, power, split_ignored
from trainable.losses.softmax_terms import softmax_terms

ClassWeights = Sequence[float] | Tensor


class PixelLoss(AdditiveLoss):
    """Mean over the valid pixels of weight[t] * (1 - p_t)^gamma * (-log p_t), t being a pixel's true label.

    Args:
        gamma: Exponent that turns away from easy pixels, >= 0; 0 turns from none.
        class_weights: A positive factor for each label; None: all 1. A buffer: it moves with `to(device)`.
        ignore_index: Label of the pixels that add nothing; None: every pixel counts.

    Raises:
        ValueError: If gamma or a weight is out of its range.
    """

    any_dtype = True

    class_weights: Tensor | None

    def __init__(
        self, *, gamma: float, class_weights: ClassWeights | None = None, ignore_index: int | None = None
    ) -> None:
        super().__init__()
        require(gamma >= 0 and math.isfinite(gamma), "gamma must be finite and >= 0", gamma, "Use 0 for cross entropy")
        self.gamma = gamma
        self.ignore_index = ignore_index
        self.register_buffer("class_weights", None if class_weights is None else _as_weights(class_weights))

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

    any_dtype = True

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

    any_dtype = True


def _as_weights(class_weights: ClassWeights) -> Tensor:
    weights = torch.as_tensor(class_weights, dtype=torch.float32).detach().clone()
    rule = "class_weights must be a list of positive finite numbers, one for each class"
    require(weights.ndim == 1 and len(weights) > 0, rule, f"shape {tuple(weights.shape)}", "Pass a flat list")
    wrong = weights[~(weights.isfinite() & (weights > 0))].tolist()
    require(not wrong, rule, wrong, "To leave a class out altogether, ignore its label")
    return weights
