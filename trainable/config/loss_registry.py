"""Which parameters exist under which loss; a loss refuses all others."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from trainable.config.user_class import is_reference

_PIXEL: Final[dict[str, tuple[str, ...]]] = {
    "cross_entropy": ("class_weight_power",),
    "focal": ("focal_gamma", "class_weight_power"),
}
_REGION: Final[dict[str, tuple[str, ...]]] = {
    "dice": (),
    "iou": (),
    "tversky": ("alpha", "beta", "gamma", "gamma_on"),
}
_COMPOUND: Final = ("pixel", "region", "region_weight")

LOSS_NAMES: Final = (*_PIXEL, *_REGION, "compound")
"""The built-in losses."""

LOSS_NAME_RULE: Final = f"must be one of {', '.join(LOSS_NAMES)}, or your own as package.module:Class"


def _check_name(name: str) -> str:
    if name in LOSS_NAMES or is_reference(name):
        return name
    raise ValueError(LOSS_NAME_RULE)


LossName = Annotated[str, AfterValidator(_check_name)]
"""A built-in loss, or a class of the user's own."""

LOSS_DEFAULTS: Final[dict[str, float | str]] = {
    "pixel": "cross_entropy",
    "region": "dice",
    "region_weight": 0.5,
    "class_weight_power": 0.0,
    "gamma": 1.0,
    "gamma_on": "class",
}
"""What a loss takes where its config does not say, of the parameters that it has."""

REQUIRED_PARAMETERS: Final = ("alpha", "beta", "focal_gamma")
"""What a loss that has them cannot do without."""


def loss_parameters(loss: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that exist in a loss config.

    Args:
        loss: Its `name`, and for a compound its `pixel` and `region`; what is missing has its default. An unknown name
            has no parameters.
    """
    name = loss.get("name") or "cross_entropy"
    if is_reference(name):
        return ("options",)
    if name != "compound":
        return (_PIXEL | _REGION).get(name, ())
    pixel = loss.get("pixel") or LOSS_DEFAULTS["pixel"]
    region = loss.get("region") or LOSS_DEFAULTS["region"]
    return (*_COMPOUND, *_PIXEL.get(str(pixel), ()), *_REGION.get(str(region), ()))


def owners(parameter: str) -> str:
    """The losses that have a parameter, in words: `tversky, or compound with tversky`."""
    if parameter == "options":
        return "a loss of your own (package.module:Class)"
    terms = [name for name, parameters in (_PIXEL | _REGION).items() if parameter in parameters]
    if not terms:
        return "compound"
    return f"{' and '.join(terms)}, or compound with {'one of them' if len(terms) > 1 else terms[0]}"
