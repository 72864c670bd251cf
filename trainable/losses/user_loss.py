"""A loss of the user's own: made from its config, and tried before a search relies on it.

Its contract: `loss(logits_NCHW, target_NHW)` with float32 logits and int64 labels, IGNORED where a pixel must add
nothing, gives one finite number, differentiable by the logits. It learns nothing itself: a checkpoint holds neither
parameters nor buffers of a loss.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn

from trainable.config.loss_config import LossConfig
from trainable.config.user_class import construct, in_one_line
from trainable.data.image_set import IGNORED
from trainable.errors import InputError
from trainable.losses.additive import AdditiveLoss, adds_up

_SIZE: Final = (2, 6, 10)
"""Images, height and width of the batch that a loss is tried on: no two alike, so that a swapped axis shows."""

_IGNORED_ROWS: Final = 2

_LEAVE_OUT: Final = f"leave out the pixels whose label is {IGNORED} (its constructor may take ignore_index)"
_KEEP_FINITE: Final = "Divide by the number of valid pixels but at least by 1, and keep logarithms away from 0"


def user_loss(config: LossConfig, num_classes: int) -> nn.Module:
    """Make a loss of the user's own.

    It gets its options, and of `ignore_index` (IGNORED), `num_classes` and `class_weights` (None) those that its
    constructor takes.

    Args:
        config: Its name is `package.module:Class`.
        num_classes: Channels of the logits.

    Raises:
        InputError: The class cannot be had, or cannot be made, or has no call.
    """
    offered = {"ignore_index": IGNORED, "num_classes": num_classes, "class_weights": None}
    loss = construct(config.name, config.options, offered)
    if not callable(loss):
        rule = f"{config.name} must be callable as loss(logits_NCHW, target_NHW)"
        raise InputError(rule, "no __call__", "Derive it from torch.nn.Module and define forward")
    return loss if isinstance(loss, nn.Module) else _Called(loss)


class _Called(nn.Module):
    """A callable as a module, for `to(device)`."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self._loss = loss

    def forward(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        value: Tensor = self._loss(logits_NCHW, target_NHW)
        return value


def check_loss(config: LossConfig, num_classes: int) -> None:
    """Make a loss of the user's own and try it on small batches.

    Args:
        config: Its name is `package.module:Class`.
        num_classes: Channels of the logits.

    Raises:
        InputError: It breaks the contract; the message says where.
    """
    loss = user_loss(config, num_classes)
    _require_nothing_to_learn(config.name, loss)
    generator = torch.Generator().manual_seed(0)
    n, height, width = _SIZE
    logits_NCHW = torch.randn(n, num_classes, height, width, generator=generator)
    target_NHW = torch.randint(0, num_classes, _SIZE, generator=generator)
    target_NHW[:, :_IGNORED_ROWS] = IGNORED
    gradient_NCHW = _gradient(config.name, loss, logits_NCHW, target_NHW)
    _require_ignoring(config.name, gradient_NCHW[:, :, :_IGNORED_ROWS])
    if not gradient_NCHW.any():
        rule = f"{config.name} must have a gradient by the logits"
        raise InputError(rule, "zero at every pixel", "Use probabilities, not the predicted labels")
    if adds_up(loss):
        _require_sums(config.name, loss, logits_NCHW, target_NHW)
    # Evaluation sees such batches: a tile of a large image may have no label at all.
    _gradient(config.name, loss, logits_NCHW, torch.full_like(target_NHW, IGNORED), " of nothing but ignored pixels")


def _require_sums(name: str, loss: AdditiveLoss, logits_NCHW: Tensor, target_NHW: Tensor) -> None:
    """A batch that does not fit into memory is trained by the sum of its parts' statistics."""
    target_NHW = target_NHW.clone()
    target_NHW[0, : target_NHW.shape[1] // 2] = IGNORED  # parts of equally many pixels would hide a mean
    parts = zip(torch.split(logits_NCHW, 1), torch.split(target_NHW, 1), strict=True)
    whole = loss(logits_NCHW, target_NHW)
    summed = loss.loss_from_statistics(torch.stack([loss.statistics(*part) for part in parts]).sum(dim=0))
    if not torch.isclose(whole, summed, rtol=1e-3, atol=1e-5):
        rule = f"{name} must have statistics that add up over the parts of a batch, as an AdditiveLoss promises"
        remedy = (
            "Return sums over pixels, not means; or define forward, and a batch's loss is taken from all its logits"
        )
        raise InputError(rule, f"{whole.item():.6g} of a batch and {summed.item():.6g} of its parts", remedy)


def _require_nothing_to_learn(name: str, loss: nn.Module) -> None:
    learned = [parameter for parameter, value in loss.named_parameters() if value.requires_grad]
    if learned:
        rule = f"{name} must have no parameters that learn: the optimizer has the network's alone"
        raise InputError(rule, ", ".join(learned), "Make them buffers, or options that the search tries")


def _gradient(name: str, loss: nn.Module, logits_NCHW: Tensor, target_NHW: Tensor, what: str = "") -> Tensor:
    """The gradient by the logits, once the value and it are what they must be."""
    logits_NCHW = logits_NCHW.clone().requires_grad_()
    value = _value(name, loss, logits_NCHW, target_NHW, what)
    rule = f"{name} must be differentiable by the logits of a batch{what}"
    remedy = "Compute it from the logits with torch's functions, without detach, item or argmax"
    if not value.requires_grad:
        raise InputError(rule, "a number without a gradient", remedy)
    try:
        (gradient,) = torch.autograd.grad(value, logits_NCHW, allow_unused=True)
    except Exception as error:  # whatever a backward of the user's own raises
        raise InputError(rule, in_one_line(error), remedy) from error
    if gradient is None:
        raise InputError(rule, "a number that does not depend on them", remedy)
    if not gradient.isfinite().all():
        rule = f"{name} must have a finite gradient for a batch{what}"
        raise InputError(rule, f"{int((~gradient.isfinite()).sum())} values that are not", _KEEP_FINITE)
    return gradient


def _value(name: str, loss: nn.Module, logits_NCHW: Tensor, target_NHW: Tensor, what: str) -> Tensor:
    shapes = f"logits {tuple(logits_NCHW.shape)} and a target {tuple(target_NHW.shape)}"
    try:
        value = loss(logits_NCHW, target_NHW)
    except Exception as error:  # whatever the user's class raises
        rule = f"{name} must take {shapes} with labels in 0..{logits_NCHW.shape[1] - 1} or {IGNORED}, ignored"
        raise InputError(rule, in_one_line(error), f"Mend its forward; {_LEAVE_OUT}") from error
    if not isinstance(value, Tensor) or value.shape != ():
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{name} must return one number, a tensor of shape ()", got, "Take the mean over the pixels")
    if not value.isfinite():
        raise InputError(f"{name} must return a finite number for a batch{what}", value.item(), _KEEP_FINITE)
    return value


def _require_ignoring(name: str, gradient_NCHW: Tensor) -> None:
    wrong = int(gradient_NCHW.any(dim=1).sum())
    if wrong:
        rule = f"{name} must have no gradient at ignored pixels"
        got = f"one at {wrong} of {gradient_NCHW[:, 0].numel()}"
        raise InputError(rule, got, f"{_LEAVE_OUT[0].upper()}{_LEAVE_OUT[1:]}")
