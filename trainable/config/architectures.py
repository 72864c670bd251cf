"""The architectures by name, so that a config is read without the library that has them.

A new architecture is a class, made as those of segmentation_models_pytorch are, and an entry of `ARCHITECTURES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from trainable.config.user_class import accepted, check_name, is_reference
from trainable.errors import InputError


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Attributes:
        implementation: Its class, `package.module:Class`, made with `encoder_name`, `encoder_weights` and `classes`.
        title: As a sentence has it; where that is its name in a config, empty.
        options: Further keyword arguments of its class.
        has_output_stride: Whether its class also takes `encoder_output_stride`.
    """

    implementation: str
    title: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    has_output_stride: bool = False


_SMP: Final = "segmentation_models_pytorch"

ARCHITECTURES: Final[dict[str, Architecture]] = {
    "unet": Architecture(f"{_SMP}:Unet", "Unet"),
    "unetplusplus": Architecture(f"{_SMP}:UnetPlusPlus"),
    "manet": Architecture(f"{_SMP}:MAnet"),
    "linknet": Architecture(f"{_SMP}:Linknet"),
    "fpn": Architecture(f"{_SMP}:FPN"),
    "pspnet": Architecture(f"{_SMP}:PSPNet"),
    "deeplabv3": Architecture(f"{_SMP}:DeepLabV3", "DeepLabV3", has_output_stride=True),
    "deeplabv3plus": Architecture(f"{_SMP}:DeepLabV3Plus", "DeepLabV3+", has_output_stride=True),
    "pan": Architecture(f"{_SMP}:PAN", has_output_stride=True),
    "upernet": Architecture(f"{_SMP}:UPerNet"),
    "segformer": Architecture(f"{_SMP}:Segformer"),
    # A vision transformer else takes images of the one size that it was trained with.
    "dpt": Architecture(f"{_SMP}:DPT", options={"dynamic_img_size": True}),
}
"""By the name that a config uses, in the order in which messages name them."""

ARCHITECTURE_NAMES: Final = tuple(ARCHITECTURES)

ARCHITECTURE_RULE: Final = f"must be one of {', '.join(ARCHITECTURE_NAMES)}, or your own as package.module:Class"


ArchitectureName = Annotated[str, AfterValidator(lambda name: check_name(name, ARCHITECTURES, ARCHITECTURE_RULE))]
"""A built-in architecture, or a class of the user's own."""

_OF_OWN_CLASSES: Final = ("encoder", "encoder_weights", "output_stride")
"""What a class of the user's own gets where its constructor takes it."""


def model_parameters(architecture: str) -> tuple[str, ...]:
    """The parameters that a network has, by their names in `ModelConfig`.

    Args:
        architecture: Its name; an unknown one has no parameters. A class that cannot be had is taken to have all of
            them: that it can be had is checked before a search starts.
    """
    if is_reference(architecture):
        try:
            taken = accepted(architecture, _OF_OWN_CLASSES)
        except InputError:
            taken = _OF_OWN_CLASSES
        return ("architecture", *taken, "options")
    entry = ARCHITECTURES.get(architecture)
    if entry is None:
        return ()
    return ("architecture", "encoder", "encoder_weights", *(("output_stride",) if entry.has_output_stride else ()))
