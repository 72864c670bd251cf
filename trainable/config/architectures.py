"""The names of the architectures, so that a config is read without the library that has them."""

from typing import Annotated, Final

from pydantic import AfterValidator

from trainable.config.user_class import is_reference

ARCHITECTURE_NAMES: Final = (
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
)
"""The architectures of segmentation_models_pytorch."""

ARCHITECTURE_RULE: Final = f"must be one of {', '.join(ARCHITECTURE_NAMES)}, or your own as package.module:Class"


def _check_name(name: str) -> str:
    if name in ARCHITECTURE_NAMES or is_reference(name):
        return name
    raise ValueError(ARCHITECTURE_RULE)


ArchitectureName = Annotated[str, AfterValidator(_check_name)]
"""A built-in architecture, or a class of the user's own."""
