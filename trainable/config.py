"""The resolved configuration of one trial: plain values, checked when they are read, frozen afterwards."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from trainable.dataset_config import DatasetConfig
from trainable.loss_parameters import LOSS_DEFAULTS, REQUIRED_PARAMETERS, LossName, loss_parameters, owners
from trainable.model_names import ArchitectureName
from trainable.objectives import Objective
from trainable.user_class import Option, is_reference

PixelTerm = Literal["cross_entropy", "focal"]
RegionTerm = Literal["dice", "iou", "tversky"]
GammaOn = Literal["class", "mean"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Section(BaseModel):
    """A part of a config: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _truth_is_no_number(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Any:
        """Refuse what pydantic would take for 1: `hours: yes` is no hour."""
        checked = check(given)
        if isinstance(given, bool) and not isinstance(checked, bool):
            raise ValueError("must be a number")  # noqa: TRY004 (pydantic collects these)
        return checked


class ModelConfig(Section):
    """The segmentation network.

    Attributes:
        architecture: An architecture of segmentation_models_pytorch by its lower-case name, or the user's own as
            `package.module:Class`.
        encoder: An encoder of segmentation_models_pytorch, or `tu-NAME` for any of timm's.
        encoder_weights: `imagenet` (fetched once), `none`, or a path to a state dict of the encoder.
        output_stride: Encoder stride of the DeepLab family, stated because smp's defaults differ between
            DeepLabV3 (8) and DeepLabV3+ (16), which confounds their comparison; other architectures take none.
        options: Keyword arguments of the user's own class.
    """

    architecture: ArchitectureName = "deeplabv3plus"
    encoder: str = "resnet34"
    encoder_weights: str = "imagenet"
    output_stride: Literal[8, 16] = 16
    options: dict[str, Option] = {}

    @model_validator(mode="after")
    def _options_have_an_owner(self) -> Self:
        if self.options and not is_reference(self.architecture):
            raise ValueError(
                f"model.options exists only under an architecture of your own (package.module:Class); "
                f"got model.architecture {self.architecture}. Remove it"
            )
        return self


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
    options: dict[str, Option] = {}

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


class OptimizerConfig(Section):
    """AdamW under a cosine schedule with linear warm-up.

    Attributes:
        learning_rate: Peak learning rate, > 0.
        weight_decay: Decoupled weight decay, >= 0.
        warmup_epochs: Length of the linear warm-up in epochs (a fraction is fine), >= 0.
    """

    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.5


def _check_crop(value: Any) -> str:
    match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must read HEIGHTxWIDTH in pixels, such as 512x512")
    if any(int(side) < 32 or int(side) % 32 for side in match.groups()):
        raise ValueError("must have sides that are multiples of 32 (the encoders' stride), 32 at the least")
    return match[0]


CropSize = Annotated[str, BeforeValidator(_check_crop)]
"""HEIGHTxWIDTH in pixels."""


class DataConfig(Section):
    """How training batches are drawn.

    Attributes:
        batch_size: Crops a step, >= 1; networks whose BatchNorm sees 1x1 maps need two (`smallest_batch`).
        crop: HEIGHTxWIDTH in pixels, both multiples of 32.
        crops_per_image: Crops drawn from each training image an epoch; raise it where images are few and large.
        rare_class_first: Probability that a crop is drawn class first (a class, then an image that has it, then
            a crop around it) instead of image first, in 0..1.
        copy_paste: Probability that an object of a thing class, of some training image, is pasted into a crop,
            in 0..1.
        scale_min: Smallest random magnification of the content of a crop.
        scale_max: Largest random magnification.
        horizontal_flip: Flip half of the crops left to right.
        vertical_flip: Flip half of the crops top to bottom: for nadir views only.
        color_jitter: Brightness, contrast and saturation are each scaled by a factor in 1 +- this, in 0..1.
    """

    batch_size: Annotated[int, Field(ge=1)] = 8
    crop: CropSize = "512x512"
    crops_per_image: Annotated[int, Field(ge=1)] = 1
    rare_class_first: Annotated[float, Field(ge=0, le=1)] = 0.0
    copy_paste: Annotated[float, Field(ge=0, le=1)] = 0.0
    scale_min: Annotated[float, Field(gt=0, le=4)] = 0.75
    scale_max: Annotated[float, Field(gt=0, le=4)] = 1.5
    horizontal_flip: bool = True
    vertical_flip: bool = False
    color_jitter: Annotated[float, Field(ge=0, le=1)] = 0.2

    @model_validator(mode="after")
    def _scales_in_order(self) -> Self:
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"data.scale_min must not exceed data.scale_max; got {self.scale_min} and {self.scale_max}. Swap them"
            )
        return self

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of a crop in pixels."""
        height, width = self.crop.split("x")
        return int(height), int(width)


class RuntimeConfig(Section):
    """How a trial runs; what it computes stays the same within rounding.

    Attributes:
        precision: `auto` takes bf16 where the device computes it in hardware, else fp16 on a GPU, else fp32.
        compile: Run the model through `torch.compile`.
        epoch_timeout_minutes: A trial without a new epoch for this long counts as hung.
        max_attempts: Starts of a trial, the first included, before it is given up as failed.
    """

    precision: Precision = "auto"
    compile: bool = False
    epoch_timeout_minutes: Annotated[float, Field(gt=0)] = 60
    max_attempts: Annotated[int, Field(ge=1)] = 3


class EvaluationConfig(Section):
    """How a network is measured; the same in all trials of a search.

    Attributes:
        min_object_pixels: Connected components of a thing class that are smaller are no objects, neither true ones
            that can be missed nor predicted ones that can be false alarms.
    """

    min_object_pixels: Annotated[int, Field(ge=1)] = 4


class TrialConfig(Section):
    """Everything that decides what a trial computes.

    Attributes:
        max_epochs: Epochs of a trial that is not stopped early; also the length of the cosine schedule.
        objective: The metric whose running best is the objective, and whose best epoch is kept.
        seed: Initial weights, data order and augmentation: trials of a search share it (common random numbers).
    """

    dataset: DatasetConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    data: DataConfig = DataConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    objective: Objective = "miou"
    max_epochs: Annotated[int, Field(ge=1)] = 30
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.optimizer.warmup_epochs >= self.max_epochs:
            raise ValueError(
                "optimizer.warmup_epochs must be below budget.max_epochs; "
                f"got {self.optimizer.warmup_epochs} and {self.max_epochs}. Shorten the warm-up or train longer"
            )
        return self
