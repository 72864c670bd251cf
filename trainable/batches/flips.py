"""Half of the crops flipped, image and labels alike."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from trainable.batches.augmentation import CropAugmentation


class _Flip(CropAugmentation):
    """Flips a crop where its number is below 1/2.

    Args:
        value: True.
    """

    draws: ClassVar[int] = 1
    _axis: ClassVar[int]

    def __init__(self, value: bool) -> None:
        del value  # it is only made to flip

    def __call__(self, image_CHW: Tensor, mask_HW: Tensor, numbers: Sequence[float]) -> None:
        """Flip a crop in place, or leave it."""
        if numbers[0] < 0.5:
            image_CHW.copy_(image_CHW.flip(self._axis))
            mask_HW.copy_(mask_HW.flip(self._axis))


class HorizontalFlip(_Flip):
    """Left to right."""

    _axis: ClassVar[int] = -1


class VerticalFlip(_Flip):
    """Top to bottom."""

    _axis: ClassVar[int] = -2
