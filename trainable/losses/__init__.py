"""The losses, what they share, and how a config's loss is made.

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

from trainable.losses.additive import AdditiveLoss
from trainable.losses.compound import CompoundLoss
from trainable.losses.pixel import CrossEntropyLoss, FocalLoss, PixelLoss
from trainable.losses.region import DiceLoss, IoULoss, RegionLoss, TverskyLoss

__all__ = [
    "AdditiveLoss",
    "CompoundLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "IoULoss",
    "PixelLoss",
    "RegionLoss",
    "TverskyLoss",
]
