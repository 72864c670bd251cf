"""Losses whose statistics add up over the parts of a batch, so that a batch can be trained in parts."""

from abc import abstractmethod
from typing import TypeGuard

from torch import Tensor, nn


class AdditiveLoss(nn.Module):
    """A loss that is a function of statistics, and the statistics of a batch are the sum of its parts'.

    A derived class defines `statistics` and `loss_from_statistics`, and leaves `forward` as it is.
    """

    def forward(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            logits_NCHW: Unnormalised scores, any floating dtype.
            target_NHW: Labels, any integer dtype.

        Returns:
            A float32 scalar.

        Raises:
            ValueError: If a shape, a dtype, a number of classes or (on the CPU) a label is wrong.
        """
        return self.loss_from_statistics(self.statistics(logits_NCHW, target_NHW))

    @abstractmethod
    def statistics(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute the statistics of a batch or of a part of one, float32, differentiable by the logits.

        Raises:
            ValueError: As `forward`.
        """

    @abstractmethod
    def loss_from_statistics(self, statistics: Tensor) -> Tensor:
        """Compute the loss of statistics, a float32 scalar, differentiable by them."""


def adds_up(loss: nn.Module) -> TypeGuard[AdditiveLoss]:
    """Whether a loss is one of its statistics alone; not so where a derived class overrides `forward`."""
    return isinstance(loss, AdditiveLoss) and type(loss).forward is AdditiveLoss.forward and "forward" not in vars(loss)
