"""What every loss needs of the softmax of a batch, differentiable, without ever holding all its probabilities.

The logits are worked through in blocks that stay in the CPU's cache. For the backward pass nothing is kept but the
logits, the labels and one number a pixel: computing a block's probabilities again costs less than fetching them from
memory. The backward pass allocates the gradient, in the logits' dtype, and nothing else of that size.

Shapes: N images, C classes, H rows, W columns. A class's label is its channel.
"""

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_LOG2_E: Final = math.log2(math.e)
_BLOCK: Final = {"cpu": 2**18, "cuda": 2**22}
"""Logits that are worked on at once, of each thread on a CPU: few enough for its cache, many enough to outweigh the
calls."""


class SoftmaxTerms(NamedTuple):
    """Of the softmax p of each pixel's logits.

    Attributes:
        true_log_p: log p of each pixel's label, <= 0. (N, H, W), float32. Minus infinity where it is ignored: a loss
            must have no derivative by it there, as it has none by its `exp`.
        predicted: Sum of each class's p over the valid pixels; zeros where it was not asked for. (C,), float32.
    """

    true_log_p: Tensor
    predicted: Tensor


def softmax_terms(logits_NCHW: Tensor, label_NHW: Tensor, valid_NHW: Tensor, *, predicted: bool) -> SoftmaxTerms:
    """Compute the terms of a batch, in float32; they can be differentiated by the logits, once.

    Args:
        logits_NCHW: Unnormalised scores, any floating dtype and memory layout.
        label_NHW: Labels in [0, C), also where they are ignored. int64.
        valid_NHW: False where ignored. bool.
        predicted: Whether `SoftmaxTerms.predicted` is wanted.
    """
    return SoftmaxTerms(*_SoftmaxTerms.apply(logits_NCHW, label_NHW[:, None], valid_NHW[:, None], predicted))


class _SoftmaxTerms(torch.autograd.Function):
    """The terms, and the gradient that follows from theirs.

    With k = dL/d(log p_t), t being the label, and g = dL/d(predicted), a valid pixel's gradient by its logits z is
    dL/dz_c = p_c (g_c - sum_j p_j g_j) + ([c = t] - p_c) k.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_NCHW: Tensor, label_N1HW: Tensor, valid_N1HW: Tensor, predicted: bool
    ) -> tuple[Tensor, Tensor]:
        top_N1HW, total_N1HW, true_N1HW = (torch.empty_like(label_N1HW, dtype=torch.float32) for _ in range(3))
        sums = [top_N1HW.new_zeros(logits_NCHW.shape[1])]
        for logits, label, valid, top, total, true in _row_blocks(
            logits_NCHW, label_N1HW, valid_N1HW, top_N1HW, total_N1HW, true_N1HW
        ):
            scores = _as_float32(logits)
            below = scores - torch.amax(scores, dim=1, keepdim=True, out=top)
            torch.gather(below, 1, label, out=true)
            exponentials = _exp_(below)
            torch.sum(exponentials, dim=1, keepdim=True, out=total)
            # An infinite sum of exponentials leaves an ignored pixel no probability, and so no gradient.
            total.masked_fill_(~valid, torch.inf)
            if predicted:
                sums.append(exponentials.div_(total).sum(dim=(0, 2, 3)))
        log_total_N1HW = total_N1HW.log_()
        ctx.save_for_backward(logits_NCHW, label_N1HW, top_N1HW.add_(log_total_N1HW))
        ctx.predicted = predicted
        return true_N1HW.sub_(log_total_N1HW)[:, 0], torch.stack(sums).sum(dim=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, k_NHW: Tensor, g_C: Tensor) -> tuple[Tensor, None, None, None]:
        logits_NCHW, label_N1HW, log_sum_N1HW = ctx.saved_tensors
        gradient_NCHW = torch.empty_like(logits_NCHW)
        g = g_C.view(1, -1, 1, 1)
        for logits, label, log_sum, k, gradient in _row_blocks(
            logits_NCHW, label_N1HW, log_sum_N1HW, k_NHW[:, None], gradient_NCHW
        ):
            p = _exp_(_as_float32(logits) - log_sum)
            if ctx.predicted:
                slope = p * g
                slope.addcmul_(p, slope.sum(dim=1, keepdim=True).add_(k), value=-1)
            else:
                slope = p.mul_(-k)
            # First the dtype, then the layout: at once, torch takes the pixels one by one.
            gradient.copy_(slope.scatter_add_(1, label, k).to(gradient.dtype))
        return gradient_NCHW, None, None, None


def _row_blocks(logits_NCHW: Tensor, *others_NxHW: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The tensors in parts, side by side, from the first rows of all images to the last; views."""
    rows = _rows_at_once(logits_NCHW)
    return zip(*(torch.split(tensor, rows, dim=2) for tensor in (logits_NCHW, *others_NxHW)), strict=True)


def _rows_at_once(logits_NCHW: Tensor) -> int:
    on_cpu = logits_NCHW.device.type == "cpu"
    block = _BLOCK["cpu"] * torch.get_num_threads() if on_cpu else _BLOCK["cuda"]
    n, classes, _, width = logits_NCHW.shape
    return max(1, block // max(1, n * classes * width))


def _as_float32(logits: Tensor) -> Tensor:
    """The logits, rows innermost: sums over classes then work on whole vectors of pixels."""
    if logits.dtype == torch.float32 and logits.stride(3) == 1:
        return logits
    return logits.to(torch.float32, memory_format=torch.contiguous_format)


def _exp_(x: Tensor) -> Tensor:
    """`exp` in place, of x <= 0; exp2 is 4 times as fast where torch leaves exp to MKL and the CPU is not Intel's."""
    return x.mul_(_LOG2_E).exp2_()
