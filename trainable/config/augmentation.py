"""Which fields of a config are augmentations, and the classes behind them.

A new augmentation is a class in `trainable/batches/` (its interface: `CropAugmentation` there) and a field of
`DataConfig` that names the class; nothing else knows it.
"""

from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True)
class Augmentation:
    """Marks a field of a config as an augmentation; it is off where the field is False or 0.

    Attributes:
        implementation: Its class as `package.module:Class`: a name, because configs are read without torch.
    """

    implementation: str


def augmentations_of(config: type[BaseModel]) -> tuple[tuple[str, Augmentation], ...]:
    """The augmentations of a config by their fields, in the order of the fields."""
    return tuple(
        (name, mark)
        for name, field in config.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Augmentation)
    )
