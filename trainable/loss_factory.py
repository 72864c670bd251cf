"""From a loss's config to the loss."""

from torch import nn

from trainable.config import LossConfig
from trainable.image_set import IGNORED
from trainable.losses import CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss


def build_loss(config: LossConfig) -> nn.Module:
    """The training criterion, `criterion(logits_NCHW, target_NHW) -> scalar`; pixels of label IGNORED add nothing."""
    match config.name:
        case "cross_entropy":
            return CrossEntropyLoss(ignore_index=IGNORED)
        case "focal":
            return FocalLoss(gamma=_given(config.focal_gamma), ignore_index=IGNORED)
        case "dice":
            return DiceLoss(ignore_index=IGNORED)
        case "iou":
            return IoULoss(ignore_index=IGNORED)
        case "tversky":
            return TverskyLoss(
                alpha=_given(config.alpha),
                beta=_given(config.beta),
                gamma=_given(config.gamma),
                gamma_on=config.gamma_on or "class",
                ignore_index=IGNORED,
            )


def _given(value: float | None) -> float:
    """A parameter that the config's validation has made sure of."""
    if value is None:
        raise TypeError("LossConfig was built without validation")
    return value
