"""A batch that does not fit into memory is trained in parts, with the gradient of the whole.

A batch's loss is not the mean of its parts' losses: a region loss is made of ratios of sums over the batch, and even a
mean over pixels weighs parts by their valid pixels. Hence two passes over the parts:

1. Without gradient: the statistics of each part, from which the loss of the whole batch follows, and its derivative by
   each part's statistics.
2. With gradient: the statistics of each part again, and from the derivative back to the weights.

Both passes compute the same: random numbers (dropout) and buffers (running statistics) are put back between them. What
cannot be had is the BatchNorm of the whole batch: it normalises each part by the part's own mean and variance, and its
running statistics move once a part.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainable.batches.normalise import normalise
from trainable.device import Compute, free_memory
from trainable.errors import InputError
from trainable.losses.additive import adds_up, takes_any_dtype
from trainable.network.model import smallest_batch
from trainable.out_of_memory import is_out_of_memory, more_memory
from trainable.trial_config import TrialConfig

Buffers = dict[str, Tensor]


class MicroBatches:
    """Turns batches into gradients, in as many parts as memory asks for.

    Args:
        config: Of the trial.
        network: What is trained.
        forward: The network, or what it was compiled to.
        compute: Device and precision.
        scaler: Of the loss, before its derivative is taken.

    Attributes:
        parts: In how many parts a batch is trained; grows where memory runs out and never shrinks again.
    """

    def __init__(
        self,
        config: TrialConfig,
        network: nn.Module,
        forward: nn.Module,
        compute: Compute,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self.parts = 1
        self._config = config
        self._network = network
        self._forward = forward
        self._compute = compute
        self._scaler = scaler
        self._notes: list[str] = []

    @property
    def size(self) -> int:
        """Images in the largest part of a batch."""
        return _ceil(self._config.data.batch_size, self.parts)

    def take_notes(self) -> tuple[str, ...]:
        """What the user should hear, once: that a batch did not fit."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def backward(self, criterion: nn.Module, images_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Put the gradient of a batch's loss, scaled, in place of the gradient that the network's weights hold.

        Where memory runs out, the micro-batch is halved and the batch trained again.

        Args:
            criterion: `criterion(logits_NCHW, target_NHW) -> scalar`.
            images_NCHW: uint8, on the CPU.
            target_NHW: uint8, on the CPU.

        Returns:
            The whole batch's loss, unscaled, detached.

        Raises:
            InputError: It is out of memory at the smallest micro-batch that the network can be trained on.
        """
        while (loss := self._try(criterion, images_NCHW, target_NHW)) is None:
            self._halve()
        return loss

    def _try(self, criterion: nn.Module, images_NCHW: Tensor, target_NHW: Tensor) -> Tensor | None:
        """As `backward`, once; None where memory ran out."""
        random = _RandomState(self._compute.device)
        # Of a whole batch none: copies would cost time in every step, and where it does not fit, the running statistics
        # of the layers that it reached have only moved once more.
        buffers = _copy_buffers(self._network) if self.parts > 1 else {}
        self._network.zero_grad(set_to_none=True)
        try:
            if self.parts == 1:
                return self._at_once(criterion, images_NCHW, target_NHW)
            return self._in_parts(criterion, images_NCHW, target_NHW, buffers)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        # Not before the error is gone: its traceback holds the tensors of the failed pass.
        random.restore()
        _restore_buffers(self._network, buffers)
        free_memory()
        return None

    def _at_once(self, criterion: nn.Module, images_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        loss: Tensor = criterion(self._logits(criterion, images_NCHW), self._to_device(target_NHW))
        torch.autograd.backward(self._scaler.scale(loss))
        return loss.detach()

    def _in_parts(self, criterion: nn.Module, images_NCHW: Tensor, target_NHW: Tensor, buffers: Buffers) -> Tensor:
        target_NHW = self._to_device(target_NHW)
        parts = list(zip(images_NCHW.tensor_split(self.parts), target_NHW.tensor_split(self.parts), strict=True))
        random: list[_RandomState] = []
        statistics: list[Tensor] = []
        for images, target in parts:
            random.append(_RandomState(self._compute.device))
            with torch.no_grad():
                part = _statistics(criterion, self._logits(criterion, images), target)
            statistics.append(part.requires_grad_())
        loss = _loss(criterion, statistics, target_NHW)
        derivatives = torch.autograd.grad(self._scaler.scale(loss), statistics)
        end = _RandomState(self._compute.device)
        _restore_buffers(self._network, buffers)
        for (images, target), state, derivative in zip(parts, random, derivatives, strict=True):
            state.restore()
            torch.autograd.backward(_statistics(criterion, self._logits(criterion, images), target), derivative)
        end.restore()  # a loss may draw numbers too: the next step goes on after them
        return loss.detach()

    def _logits(self, criterion: nn.Module, images_NCHW: Tensor) -> Tensor:
        """As the criterion wants them: losses of the user's own are promised float32, ours take any dtype."""
        compute = self._compute
        pixels_NCHW = normalise(images_NCHW, compute.device)
        with compute.autocast():
            logits_NCHW: Tensor = self._forward(pixels_NCHW)
        return logits_NCHW if takes_any_dtype(criterion) else logits_NCHW.float()

    def _to_device(self, target_NHW: Tensor) -> Tensor:
        """Labels travel as bytes; losses of the user's own are promised int64."""
        return target_NHW.to(self._compute.device, non_blocking=True).long()

    def _halve(self) -> None:
        batch, before = self._config.data.batch_size, self.size
        smallest = self._smallest()
        self.parts = max(1, min(_ceil(batch, _ceil(before, 2)), batch // smallest))
        if self.size == before:
            raise self._refusal()
        note = f"out of memory with {_images(before)} at once: from here on {self.size} at once"
        note += f", the effective batch stays {batch}"
        if any(isinstance(layer, _BatchNorm) for layer in self._network.modules()):
            note += "; BatchNorm sees the smaller batches"
        self._notes.append(note)

    def _smallest(self) -> int:
        try:
            return smallest_batch(self._network, self._config.data.crop_size)
        except RuntimeError as error:
            if is_out_of_memory(error):  # of one crop, without gradient
                raise self._refusal() from error
            raise

    def _refusal(self) -> InputError:
        return InputError(
            "a training step must fit into memory",
            f"out of memory at micro-batches of {_images(self.size)}, the smallest parts of a batch of "
            f"{self._config.data.batch_size} that {self._config.model.architecture} can be trained on",
            f"Use smaller crops or a smaller encoder, or {more_memory(self._compute.device)}",
        )


class _RandomState:
    """The state of torch's generators when it was made."""

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state() if device.type == "cuda" else None

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda)


def _copy_buffers(network: nn.Module) -> Buffers:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


@torch.no_grad()
def _restore_buffers(network: nn.Module, copies: Buffers) -> None:
    for name, buffer in network.named_buffers():
        if name in copies:
            buffer.copy_(copies[name])


def _statistics(criterion: nn.Module, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
    """What the loss of the whole batch needs to know of a part.

    Of a loss that is not additive, the logits: exact for any loss. They and their derivative take the memory of a whole
    batch's logits twice, and the loss what it needs for a whole batch, which is little beside the activations of the
    network that do not fit.
    """
    if adds_up(criterion):
        return criterion.statistics(logits_NCHW, target_NHW)
    return logits_NCHW


def _loss(criterion: nn.Module, statistics: Sequence[Tensor], target_NHW: Tensor) -> Tensor:
    """The loss of the whole batch, differentiable by the statistics of its parts."""
    if adds_up(criterion):
        return criterion.loss_from_statistics(torch.stack(list(statistics)).sum(dim=0))
    loss: Tensor = criterion(torch.cat(list(statistics)), target_NHW)
    return loss


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"
