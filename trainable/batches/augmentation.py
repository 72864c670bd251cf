"""What changes the pixels of a crop: the interface of an augmentation, and those of a config drawn and applied."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from trainable.config.augmentation import augmentations_of
from trainable.config.sections import DataConfig
from trainable.config.user_class import load_class

Numbers = Mapping[str, tuple[float, ...]]
"""What decides the augmentations of one crop: uniform numbers in 0..1, by the config's field."""


class CropAugmentation(Protocol):
    """Changes one crop, decided by its numbers alone.

    It draws nothing itself and keeps nothing between crops: several threads call one object at the same time.

    Args:
        value: The value of its field in the config; it is not made where that is False or 0.

    Attributes:
        draws: How many numbers decide one crop.
    """

    draws: ClassVar[int]

    def __init__(self, value: Any) -> None: ...

    def __call__(self, image_CHW: Tensor, mask_HW: Tensor, numbers: Sequence[float]) -> None:
        """Change a crop in place.

        Args:
            image_CHW: uint8, RGB, in any order in memory, on the CPU.
            mask_HW: uint8 labels and IGNORED, on the CPU; they may move, and change in no other way.
            numbers: `draws` of them, uniform in 0..1, 1 excluded.
        """


class Augmentations:
    """Those of a config, drawn and applied in the order of its fields.

    Args:
        config: Says which are on.
    """

    def __init__(self, config: DataConfig) -> None:
        classes: dict[str, type[CropAugmentation]] = {
            name: load_class(mark.implementation) for name, mark in augmentations_of(type(config))
        }
        self._draws = {name: made.draws for name, made in classes.items()}
        self._on = {name: made(value) for name, made in classes.items() if (value := getattr(config, name))}

    def draw(self, generator: np.random.Generator) -> Numbers:
        """Draw the numbers of one crop, in field order, for those that are on."""
        # All are drawn, on or off: trials that differ in one augmentation still share the others.
        numbers = {name: tuple(generator.random(draws).tolist()) for name, draws in self._draws.items()}
        return {name: numbers[name] for name in self._on}

    def apply(self, image_CHW: Tensor, mask_HW: Tensor, numbers: Numbers) -> None:
        """Change a crop in place.

        Args:
            image_CHW: uint8, RGB, in any order in memory, on the CPU.
            mask_HW: uint8, on the CPU.
            numbers: What `draw` gave for it.
        """
        for name, augmentation in self._on.items():
            augmentation(image_CHW, mask_HW, numbers[name])
