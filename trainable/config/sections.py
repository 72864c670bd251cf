"""The sections of a trial's config that no other module owns: model, optimizer, data, runtime and evaluation."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from trainable.config.architectures import ARCHITECTURES, ArchitectureName
from trainable.config.augmentation import Augmentation
from trainable.config.section import Section
from trainable.config.user_class import Option, is_reference

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_OUTPUT_STRIDE: Final = 16


class ModelConfig(Section):
    """The segmentation network.

    Attributes:
        architecture: An architecture of segmentation_models_pytorch by its lower-case name, or the user's own as
            `package.module:Class`.
        encoder: An encoder of segmentation_models_pytorch, or `tu-NAME` for any of timm's.
        encoder_weights: `imagenet` (fetched once), `none`, or a path to a state dict of the encoder.
        output_stride: Of the encoder, 16 by default: stated because smp's defaults differ between DeepLabV3 (8) and
            DeepLabV3+ (16), which confounds their comparison. None under an architecture that has none, whatever is
            given: a config may name one for several architectures, and so do older records.
        options: Keyword arguments of the user's own class.
    """

    architecture: ArchitectureName = "deeplabv3plus"
    encoder: str = "resnet34"
    encoder_weights: str = "imagenet"
    output_stride: Literal[8, 16] | None = Field(default=None, validate_default=True)
    options: dict[str, Option] = Field(default={})

    @field_validator("output_stride")
    @classmethod
    def _of_the_architecture(cls, stride: int | None, info: ValidationInfo) -> int | None:
        entry = ARCHITECTURES.get(info.data.get("architecture", ""))
        if entry is not None and not entry.has_output_stride:
            return None
        return _OUTPUT_STRIDE if stride is None else stride

    @model_validator(mode="after")
    def _options_have_an_owner(self) -> Self:
        if self.options and not is_reference(self.architecture):
            raise ValueError(
                f"model.options exists only under an architecture of your own (package.module:Class); "
                f"got model.architecture {self.architecture}. Remove it"
            )
        return self


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
    # Augmentations draw and act in this order: a new one goes last, and so changes the draws of no other.
    horizontal_flip: Annotated[bool, Augmentation("trainable.batches.flips:HorizontalFlip")] = True
    vertical_flip: Annotated[bool, Augmentation("trainable.batches.flips:VerticalFlip")] = False
    color_jitter: Annotated[float, Field(ge=0, le=1), Augmentation("trainable.batches.color_jitter:ColorJitter")] = 0.2

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
