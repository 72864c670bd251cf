"""Logit adjustment after training: which class wins when rare ones are given a lead.

Menon et al. 2021, "Long-tail learning via logit adjustment": the label of a pixel is
argmax_c (logit_c - tau * log prior_c), the prior being a class's share of the training pixels. tau = 0 is what the
network says and tau = 1 removes the prior that cross entropy has learnt. Below 0 frequent classes gain: a loss that
over-predicts rare ones can be moved the other way.

A class's score is a line over tau and the label is on the upper envelope of these lines, where each class holds one
interval. So a pixel with one label at two taus has it at all taus between, and only other pixels are scored there. Of
tied classes the first is taken, as by argmax. What this gives is what scoring every pixel at every tau would give;
rounding in float32 may order classes differently whose scores tie within it at both ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.measure.argmax_labels import first_best, row_blocks

TAUS: Final = tuple(step / 4 for step in range(-2, 7))
"""Strengths among which one is chosen on dev, ascending; 0, no adjustment, is one of them."""


def log_priors(pixel_counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of each class's share of the pixels; an absent class is given the largest share, and so no lead.

    Args:
        pixel_counts: int64 (classes,), pixels of the training split.
    """
    pixels = np.where(pixel_counts > 0, pixel_counts, max(1, pixel_counts.max()))
    shares: NDArray[np.float64] = pixels / max(1, pixel_counts.sum())
    return np.log(shares)


class LogitAdjustment:
    """Counts what would be predicted at several strengths.

    Args:
        log_prior: Of each class.
        taus: Strengths, ascending; may be none.
        device: Of the logits.
    """

    def __init__(self, log_prior: NDArray[np.float64], taus: Sequence[float], device: torch.device) -> None:
        leads = -np.multiply.outer(np.array(taus), log_prior)
        self._leads_TC = torch.from_numpy(leads.astype(np.float32)).to(device)
        self._unadjusted = [place for place, tau in enumerate(taus) if tau == 0]
        self._anchors = sorted({0, len(taus) - 1, *self._unadjusted}) if taus else []

    def confusion(self, logits_NCHW: Tensor, label_NHW: Tensor, target_NHW: Tensor, matrix_NCC: Tensor) -> Tensor:
        """Confusion matrices at each tau, int64 (taus, N, C, C), rows true.

        Args:
            logits_NCHW: What the network says.
            label_NHW: Its labels, as of `argmax_labels`.
            target_NHW: True labels, any integer dtype; pixels with one of C or above are not counted.
            matrix_NCC: Confusion matrices of `label_NHW`.
        """
        matrices = matrix_NCC.repeat(len(self._leads_TC), 1, 1, 1)
        row = 0
        for block_NCHW in row_blocks(logits_NCHW) if self._anchors else ():
            rows = slice(row, row := row + block_NCHW.shape[2])
            self._recount(matrices, block_NCHW, label_NHW[:, rows], target_NHW[:, rows])
        return matrices

    def _recount(self, matrices_TNCC: Tensor, logits_NCHW: Tensor, label_NHW: Tensor, target_NHW: Tensor) -> None:
        """Move the pixels of a block, counted under `label_NHW` at every tau, to their labels."""
        labels = {place: self._label(logits_NCHW, label_NHW, place) for place in self._anchors}
        # A pixel that has the network's label at all anchors has it at all taus.
        moves_NHW = torch.zeros_like(label_NHW, dtype=torch.bool)
        for anchor_NHW in labels.values():
            moves_NHW |= anchor_NHW != label_NHW
        moving = torch.nonzero((moves_NHW & (target_NHW < logits_NCHW.shape[1])).flatten())[:, 0]
        image = moving // target_NHW[0].numel()
        pixels = _Pixels(
            logits_NCHW.movedim(1, 0).flatten(1).index_select(1, moving),
            image * logits_NCHW.shape[1] + target_NHW.flatten().index_select(0, moving),
        )
        matrices_TNCC -= pixels.count(label_NHW.flatten().index_select(0, moving), matrices_TNCC[0])
        at = {place: anchor_NHW.flatten().index_select(0, moving) for place, anchor_NHW in labels.items()}
        for place, label_P in at.items():
            matrices_TNCC[place] += pixels.count(label_P, matrices_TNCC[0])
        for low, high in pairwise(self._anchors):
            self._count_between(matrices_TNCC, pixels, (low, at[low]), (high, at[high]))

    def _label(self, logits_NCHW: Tensor, label_NHW: Tensor, place: int) -> Tensor:
        if place in self._unadjusted:
            return label_NHW
        return first_best(logits_NCHW + self._leads_TC[place].view(-1, 1, 1), 1)

    def _count_between(
        self, matrices_TNCC: Tensor, pixels: "_Pixels", low: tuple[int, Tensor], high: tuple[int, Tensor]
    ) -> None:
        """Count pixels at the taus between two places where their labels are known."""
        (begin, low_P), (end, high_P) = low, high
        if end - begin < 2 or not len(low_P):
            return
        moving = torch.nonzero(low_P != high_P)[:, 0]
        # Those that stay are all, less those that move: counting is cheaper than gathering.
        staying = pixels.count(low_P, matrices_TNCC[0])
        pixels, low_P, high_P = pixels.at(moving), low_P.index_select(0, moving), high_P.index_select(0, moving)
        matrices_TNCC[begin + 1 : end] += staying - pixels.count(low_P, matrices_TNCC[0])
        middle = (begin + end) // 2
        label_P = first_best(pixels.logits + self._leads_TC[middle].view(-1, 1), 0)
        matrices_TNCC[middle] += pixels.count(label_P, matrices_TNCC[0])
        self._count_between(matrices_TNCC, pixels, (begin, low_P), (middle, label_P))
        self._count_between(matrices_TNCC, pixels, (middle, label_P), (end, high_P))


@dataclass(frozen=True, eq=False)
class _Pixels:
    """Pixels out of N images of C classes.

    Attributes:
        logits: (C, P).
        line: (P,), n * C + true label: the line that a pixel counts in, of N confusion matrices one below the other.
    """

    logits: Tensor
    line: Tensor

    def at(self, where: Tensor) -> "_Pixels":
        return _Pixels(self.logits.index_select(1, where), self.line.index_select(0, where))

    def count(self, label_P: Tensor, like_NCC: Tensor) -> Tensor:
        cells = self.line * like_NCC.shape[2] + label_P
        return torch.bincount(cells, minlength=like_NCC.numel()).view_as(like_NCC)
