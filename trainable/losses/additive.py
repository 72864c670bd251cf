"""Losses whose statistics add up over the parts of a batch, so that a batch can be trained in parts."""

from abc import abstractmethod
from typing import ClassVar, TypeGuard

from torch import Tensor, nn


class AdditiveLoss(nn.Module):
    """A loss that is a function of statistics, and the statistics of a batch are the sum of its parts'.

    A derived class defines `statistics` and `loss_from_statistics`, and leaves `forward` as it is.

    Attributes:
        any_dtype: Whether the class computes right from logits of any floating dtype; it is given float32 otherwise. A
            class says it for itself: what it derives from does not know what it computes.
    """

    any_dtype: ClassVar[bool] = False

    def forward(self, logits_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            logits_NCHW: Unnormalised scores, float32; any floating dtype where `any_dtype` says so.
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
    """Whether a loss is one of its statistics alone; not so where a derived class says otherwise what calling it is."""
    if not isinstance(loss, AdditiveLoss) or "forward" in vars(loss):
        return False
    return type(loss).forward is AdditiveLoss.forward and type(loss).__call__ is nn.Module.__call__


def takes_any_dtype(loss: nn.Module) -> bool:
    """Whether the very class of a loss says that it takes logits of any floating dtype."""
    return bool(vars(type(loss)).get("any_dtype", False))
