"""From a loss's config to the loss."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from trainable.config.loss_config import LossConfig
from trainable.config.user_class import is_reference
from trainable.data.image_set import IGNORED
from trainable.losses import (
    CompoundLoss,
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    IoULoss,
    PixelLoss,
    RegionLoss,
    TverskyLoss,
)
from trainable.losses.class_weights import class_weights
from trainable.losses.user_loss import user_loss

_T = TypeVar("_T")


def build_loss(config: LossConfig, pixel_counts: NDArray[np.int64]) -> nn.Module:
    """Build the training criterion, `criterion(logits_NCHW, target_NHW) -> scalar`.

    Pixels of label IGNORED add nothing.

    Args:
        config: Which loss.
        pixel_counts: Pixels of each class in the training split, (classes,).

    Raises:
        InputError: A class of the user's own cannot be had, or cannot be made.
    """
    if is_reference(config.name):
        return user_loss(config, len(pixel_counts))
    weights = class_weights(pixel_counts, config.class_weight_power or 0.0)
    match config.name:
        case "compound":
            return CompoundLoss(
                pixel=_pixel_loss(_given(config.pixel), config, weights),
                region=_region_loss(_given(config.region), config),
                region_weight=_given(config.region_weight),
            )
        case "cross_entropy" | "focal":
            return _pixel_loss(config.name, config, weights)
        case _:
            return _region_loss(config.name, config)


def _pixel_loss(name: str, config: LossConfig, weights: Sequence[float] | None) -> PixelLoss:
    if name == "focal":
        return FocalLoss(gamma=_given(config.focal_gamma), class_weights=weights, ignore_index=IGNORED)
    return CrossEntropyLoss(class_weights=weights, ignore_index=IGNORED)


def _region_loss(name: str, config: LossConfig) -> RegionLoss:
    if name == "tversky":
        return TverskyLoss(
            alpha=_given(config.alpha),
            beta=_given(config.beta),
            gamma=_given(config.gamma),
            gamma_on=config.gamma_on or "class",
            ignore_index=IGNORED,
        )
    return {"dice": DiceLoss, "iou": IoULoss}[name](ignore_index=IGNORED)


def _given(value: _T | None) -> _T:
    """A parameter that the config's validation has made sure of."""
    if value is None:
        raise TypeError("LossConfig was built without validation")
    return value
