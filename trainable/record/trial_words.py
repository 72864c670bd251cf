"""A configuration in words, as tables, figures and the progress view put it."""

import re
from collections.abc import Mapping
from typing import Any

from trainable.config.loss_registry import COMPOUND, LOSS_DEFAULTS, LOSSES
from trainable.config.user_class import is_reference


def model_and_loss(config: Mapping[str, Any]) -> str:
    """What a trial tries: `unet, dice`.

    Args:
        config: The resolved config of the trial.
    """
    return f"{config.get('model', {}).get('architecture', '?')}, {loss_text(config)}"


def loss_name(config: Mapping[str, Any]) -> str:
    """The name of a trial's loss."""
    return str(config.get("loss", {}).get("name", "cross_entropy"))


def loss_text(config: Mapping[str, Any]) -> str:
    """A trial's loss with its parameters: `tversky a=.70 b=.30 g=1.00`, `focal(g=2.00)+dice w=.50`, `Poly1 epsilon=.5`.

    Args:
        config: The resolved config of the trial.
    """
    given = config.get("loss", {})
    # The loss's own defaults, where the config leaves a parameter out.
    loss: dict[str, Any] = LOSS_DEFAULTS | {key: value for key, value in given.items() if value is not None}
    name = str(loss.get("name", "cross_entropy"))
    if is_reference(name):
        options = [f"{option}={_plain(value)}" for option, value in loss.get("options", {}).items()]
        return " ".join([name.rpartition(":")[2], *options])
    if name != COMPOUND:
        return " ".join([name, *_parameters(name, loss)])
    pixel, region = loss["pixel"], loss["region"]
    of_pixel = " ".join(_parameters(pixel, loss))
    first = ((LOSSES[pixel].short if pixel in LOSSES else "") or pixel) + (f"({of_pixel})" if of_pixel else "")
    return " ".join([f"{first}+{region}", *_parameters(region, loss), f"w={_short(loss['region_weight'])}"])


def _parameters(name: str, loss: Mapping[str, Any]) -> list[str]:
    """The parameters of a built-in loss or term; those at which it is the plain loss are left out."""
    parameters = LOSSES[name].parameters if name in LOSSES else {}
    said = {key: each for key, each in parameters.items() if each.unsaid is None or loss.get(key) != each.unsaid}
    return [each.short.format(_text(loss.get(key))) for key, each in said.items()]


def _text(value: float | str | None) -> str:
    return value if isinstance(value, str) else _short(value)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".removeprefix("0")


def _plain(value: object) -> str:
    """An option of a class of the user's own, whose scale nobody knows: `.5`, `1.2e-05`, `3`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3g}") if isinstance(value, float) else str(value)
