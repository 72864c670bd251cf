"""The `loss` section of a config: a loss by name, and the parameters that it has."""

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, create_model, model_validator

from trainable.config.loss_registry import (
    COMPOUND,
    LOSS_DEFAULTS,
    PARAMETERS,
    REQUIRED_PARAMETERS,
    LossName,
    loss_parameters,
    owners,
)
from trainable.config.section import Section
from trainable.config.user_class import Option


class _NamedLoss(Section):
    name: LossName = "cross_entropy"


if TYPE_CHECKING:
    _LossParameters = _NamedLoss
else:
    _LossParameters = create_model(
        "_LossParameters",
        __base__=_NamedLoss,
        **{
            name: (parameter.kind | None, Field(default=None, description=parameter.meaning))
            for name, parameter in PARAMETERS.items()
        },
    )


class LossConfig(_LossParameters):
    """The training loss; parameters that the named loss does not have are refused.

    Attributes:
        name: A built-in loss, or the user's own as `package.module:Class`.
        options: Keyword arguments of the user's own class.

    Each parameter of `loss_registry.PARAMETERS` is a field between the two; None where the loss does not have it.
    """

    options: dict[str, Option] = Field(default={})

    @property
    def parameters(self) -> dict[str, Any]:
        """Values of the parameters that the loss has, by name; of a class of the user's own none."""
        return {name: getattr(self, name) for name in loss_parameters(self.model_dump()) if name in PARAMETERS}

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, given: Any) -> Any:
        """Resolve the defaults that the loss has, so that its record shows them and no other's does."""
        if not isinstance(given, dict) or not isinstance(given.get("name", "cross_entropy"), str):
            return given
        own = loss_parameters(given)
        return given | {key: value for key, value in LOSS_DEFAULTS.items() if key in own and given.get(key) is None}

    @model_validator(mode="after")
    def _parameters_fit_the_loss(self) -> Self:
        values = self.model_dump(exclude_none=True)
        own = loss_parameters(values)
        given = {key for key, value in values.items() if key != "name" and value != {}}
        for key in sorted(given - set(own)):
            raise ValueError(f"loss.{key} exists only under {owners(key)}; got {_said(values)}. Remove it")
        for key in REQUIRED_PARAMETERS:
            if key in own and key not in given:
                raise ValueError(f"{_said(values)} needs loss.{key}; got none. Add --set loss.{key}=VALUE")
        if {"alpha", "beta"} <= set(own) and not values["alpha"] + values["beta"] > 0:
            raise ValueError(
                "loss.alpha + loss.beta must be above 0; got 0. With both at 0 every prediction is perfect: raise one"
            )
        return self


def _said(loss: dict[str, Any]) -> str:
    terms = f" of {loss['pixel']} and {loss['region']}" if loss["name"] == COMPOUND else ""
    return f"loss.name {loss['name']}{terms}"
