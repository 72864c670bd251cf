"""From a loss's config to the loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from trainable.config.loss_config import LossConfig
from trainable.config.loss_registry import CLASS_WEIGHT_POWER, COMPOUND, LOSSES
from trainable.config.user_class import is_reference, load_class
from trainable.data.image_set import IGNORED
from trainable.losses.class_weights import class_weights
from trainable.losses.compound import CompoundLoss
from trainable.losses.user_loss import user_loss


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
    values = config.parameters
    if config.name != COMPOUND:
        loss: nn.Module = _built_in(config.name, values, pixel_counts)
        return loss
    return CompoundLoss(
        pixel=_built_in(values["pixel"], values, pixel_counts),
        region=_built_in(values["region"], values, pixel_counts),
        region_weight=values["region_weight"],
    )


def _built_in(name: str, values: Mapping[str, Any], pixel_counts: NDArray[np.int64]) -> Any:
    loss = LOSSES[name]
    arguments = {
        parameter.argument or key: values[key]
        for key, parameter in loss.parameters.items()
        if key != CLASS_WEIGHT_POWER
    }
    if CLASS_WEIGHT_POWER in loss.parameters:
        arguments["class_weights"] = class_weights(pixel_counts, values[CLASS_WEIGHT_POWER])
    return load_class(loss.implementation)(**arguments, ignore_index=IGNORED)
