"""A pixel loss and a region loss together."""

import torch
from torch import Tensor

from trainable.losses.additive import AdditiveLoss
from trainable.losses.argument_check import require
from trainable.losses.pixel import PixelLoss
from trainable.losses.region import RegionLoss
from trainable.losses.soft_counts import check_shapes, counts_from_terms, split_ignored
from trainable.losses.softmax_terms import softmax_terms


class CompoundLoss(AdditiveLoss):
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
        pixel: As given.
        region: As given.

    Raises:
        ValueError: If the weight is out of its range, a term is of the wrong kind, or the terms ignore other labels.
    """

    any_dtype = True

    def __init__(self, *, pixel: PixelLoss, region: RegionLoss, region_weight: float) -> None:
        super().__init__()
        require(isinstance(pixel, PixelLoss), "pixel must be a PixelLoss", pixel, "Use CrossEntropyLoss or FocalLoss")
        require(isinstance(region, RegionLoss), "region must be a RegionLoss", region, "Use DiceLoss or TverskyLoss")
        require(0 <= region_weight <= 1, "region_weight must be in 0..1", region_weight, "Try 0.5")
        ignored = (pixel.ignore_index, region.ignore_index)
        rule = "pixel and region must have the same ignore_index"
        require(ignored[0] == ignored[1], rule, f"{ignored[0]} and {ignored[1]}", "Give both the label that is ignored")
        self.pixel = pixel
        self.region = region
        self.region_weight = region_weight

    def statistics(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute what adds up over the parts of a batch: the statistics of both terms, (2 + 3 * C,), float32.

        Raises:
            ValueError: As `forward`.
        """
        check_shapes(logits_NCHW, target_NHW)
        self.pixel.check_number_of_weights(logits_NCHW.shape[1])
        labels = split_ignored(target_NHW, logits_NCHW.shape[1], self.pixel.ignore_index)
        with torch.autocast(logits_NCHW.device.type, enabled=False):
            terms = softmax_terms(logits_NCHW, *labels, predicted=True)
            pixel = self.pixel.statistics_from_log_p(terms.true_log_p, labels)
            return torch.cat((pixel, *counts_from_terms(terms, labels)))

    def loss_from_statistics(self, statistics: Tensor) -> Tensor:
        """Compute the loss of statistics, (2 + 3 * C,), differentiable by them."""
        pixel = self.pixel.loss_from_statistics(statistics[:2])
        region = self.region.loss_from_statistics(statistics[2:].view(3, -1))
        return (1 - self.region_weight) * pixel + self.region_weight * region

    def extra_repr(self) -> str:
        """Show the hyperparameters."""
        return f"region_weight={self.region_weight}"
