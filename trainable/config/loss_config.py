"""The `loss` section of a config: a loss by name, and the parameters that it has."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from trainable.config.loss_registry import LOSS_DEFAULTS, REQUIRED_PARAMETERS, LossName, loss_parameters, owners
from trainable.config.section import Section
from trainable.config.user_class import Option

PixelTerm = Literal["cross_entropy", "focal"]
RegionTerm = Literal["dice", "iou", "tversky"]
GammaOn = Literal["class", "mean"]


class LossConfig(Section):
    """The training loss; parameters that the named loss does not have are refused.

    Attributes:
        name: A built-in loss, or the user's own as `package.module:Class`.
        pixel: The pixel term of a compound loss.
        region: The region term of a compound loss.
        region_weight: w in (1 - w) * pixel + w * region, in 0..1.
        class_weight_power: p in class weights of (1 / frequency)^p, of the pixel losses and terms, in 0..1; 0: none.
        alpha: Tversky's weight of false negatives, >= 0.
        beta: Tversky's weight of false positives, >= 0.
        gamma: Exponent of the Tversky loss, > 0.
        gamma_on: Whether `gamma` is the exponent of each class's loss or of their mean.
        focal_gamma: Exponent of the focal loss, >= 0.
        options: Keyword arguments of the user's own class.
    """

    name: LossName = "cross_entropy"
    pixel: PixelTerm | None = None
    region: RegionTerm | None = None
    region_weight: Annotated[float, Field(ge=0, le=1)] | None = None
    class_weight_power: Annotated[float, Field(ge=0, le=1)] | None = None
    alpha: Annotated[float, Field(ge=0)] | None = None
    beta: Annotated[float, Field(ge=0)] | None = None
    gamma: Annotated[float, Field(gt=0)] | None = None
    gamma_on: GammaOn | None = None
    focal_gamma: Annotated[float, Field(ge=0)] | None = None
    options: dict[str, Option] = Field(default={})

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
        if "alpha" in own and not (self.alpha or 0) + (self.beta or 0) > 0:
            raise ValueError(
                "loss.alpha + loss.beta must be above 0; got 0. With both at 0 every prediction is perfect: raise one"
            )
        return self


def _said(loss: dict[str, Any]) -> str:
    terms = f" of {loss['pixel']} and {loss['region']}" if loss["name"] == "compound" else ""
    return f"loss.name {loss['name']}{terms}"
