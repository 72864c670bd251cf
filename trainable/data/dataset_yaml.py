"""The data-set YAML: where an image set's files are, what mask values mean, how to split."""

import colorsys
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, cast

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from trainable.data.dataset_problem import Problem, name_some, os_fault, refuse_any
from trainable.data.files.folder_url import FolderUrl, without_secret
from trainable.data.files.path_pattern import PathPattern
from trainable.data.image_set import IGNORED, LabelClass, MaskEncoding
from trainable.errors import InputError

MOST_CLASSES = 255  # labels are uint8 and 255 is IGNORED
LARGEST_ID = 2**16 - 1  # masks of ids have at most 16 bits


def parse_color(given: Any) -> Any:
    """Read a colour as a description writes it.

    Args:
        given: `#RRGGBB` or `[red, green, blue]`.

    Returns:
        Three integers, 0-255.

    Raises:
        InputError: When it is neither.
    """
    if isinstance(given, str) and re.fullmatch(r"#[0-9A-Fa-f]{6}", given):
        return tuple(bytes.fromhex(given[1:]))
    if isinstance(given, list | tuple) and len(given) == 3 and all(_is_byte(part) for part in given):
        return tuple(given)
    rule = "a colour must be '#RRGGBB' or [red, green, blue]"
    raise InputError(rule, repr(given), "Write for example '#3C1098', in quotes")


def _is_byte(part: object) -> bool:
    return isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= 255


Color = Annotated[tuple[int, int, int], BeforeValidator(parse_color)]
FileId = Annotated[int, Field(ge=0, le=LARGEST_ID, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DescribedClass(_Strict):
    """A class as the description names it.

    Attributes:
        name: Unique, and fit for the name of a metric.
        id: Its value in masks of ids.
        color: Its colour in masks of colours and in figures.
        colors: Its colours in masks, where it has several.
        thing: True for countable objects.
    """

    name: str = Field(min_length=1, max_length=100)
    id: FileId | None = None
    color: Color | None = None
    colors: tuple[Color, ...] = ()
    thing: bool = False

    @field_validator("name")
    @classmethod
    def _fit_for_a_metric(cls, name: str) -> str:
        if re.fullmatch(r"[\w.-]([\w .-]*[\w.-])?", name) is None:
            rule = "a class name must consist of letters, digits, '_', '-', '.' and inner spaces"
            raise InputError(rule, repr(name), "Rename it: the metrics of a class are named iou/NAME")
        return name

    @property
    def mask_colors(self) -> tuple[tuple[int, int, int], ...]:
        """All colours that mean this class in a mask."""
        own = () if self.color is None or self.color in self.colors else (self.color,)
        return own + self.colors


class ListSplit(_Strict):
    """Splits given by files of ids, one a line; paths are relative to the root."""

    by: Literal["list"]
    train: Path
    val: Path
    dev: Path | None = None


class SceneSplit(_Strict):
    """Splits given by the names of their scenes."""

    by: Literal["scene"]
    train: tuple[str, ...]
    val: tuple[str, ...]
    dev: tuple[str, ...] = ()


class ShareSplit(_Strict):
    """Whole scenes drawn until each split has about its share of the images; the rest is train."""

    by: Literal["share"]
    val: float = Field(default=0.2, gt=0, lt=1)
    dev: float | None = Field(default=None, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _leave_some_for_train(self) -> Self:
        held_out = self.val + (self.dev or 0)
        if held_out >= 1:
            raise InputError("split.val + split.dev must be less than 1", held_out, "Lower one of them")
        return self


class Description(_Strict):
    """A data-set YAML.

    Attributes:
        name: Of the set, for the record and for figures.
        root: The folder that the globs start from, a path or a URL; relative to the YAML file.
        images: Glob of the images; the text that its wildcards match is the id, and pairs an image with its mask.
        masks: Glob of the masks, with as many wildcards.
        encoding: Whether masks hold ids or colours.
        classes: In label order.
        ignored: Ids or colours of masks that are never scored.
        scene_regex: Searched in the id; group 1, or else the whole match, is the scene.
        split: How to split.
    """

    name: str = Field(min_length=1)
    root: FolderUrl = Path()
    images: str
    masks: str
    encoding: Literal["ids", "rgb"]
    classes: tuple[DescribedClass, ...]
    ignored: tuple[FileId | Color, ...] = ()
    scene_regex: str | None = None
    split: Annotated[ListSplit | SceneSplit | ShareSplit, Field(discriminator="by")]

    @field_validator("root")
    @classmethod
    def _check_root(cls, root: Path | str) -> Path | str:
        return without_secret("it", root) if isinstance(root, str) else root

    @field_validator("scene_regex")
    @classmethod
    def _compilable(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise InputError(
                "scene_regex must be a regular expression", f"{pattern!r} ({error})", "Correct it"
            ) from error
        return pattern

    @model_validator(mode="after")
    def _pairable(self) -> Self:
        images, masks = PathPattern(self.images), PathPattern(self.masks)
        if images.wildcards != masks.wildcards:
            rule = "the globs of images and masks must have the same wildcards in the same order"
            remedy = "Write them so that what * matches is equal for an image and its mask"
            raise InputError(rule, f"{self.images!r} and {self.masks!r}", remedy)
        return self

    @model_validator(mode="after")
    def _labelled(self) -> Self:
        if not 2 <= len(self.classes) <= MOST_CLASSES:
            few = len(self.classes) < 2
            remedy = "Add the background as a class" if few else "Merge classes, or move some to ignored"
            raise InputError(f"classes must be 2 to {MOST_CLASSES}", len(self.classes), remedy)
        for entry in self.classes:
            self._check_values(entry)
        for value in self.ignored:
            if isinstance(value, int) != (self.encoding == "ids"):
                form = "ids (whole numbers)" if self.encoding == "ids" else "colours ('#RRGGBB')"
                raise InputError(f"under encoding: {self.encoding} ignored must list {form}", value, "Correct ignored")
        self._refuse_repeated()
        return self

    def _check_values(self, entry: DescribedClass) -> None:
        if self.encoding == "ids" and (entry.id is None or entry.colors):
            rule = f"under encoding: ids class {entry.name} must have an id, and color only for figures"
            raise InputError(rule, f"id {entry.id}, colors {list(entry.colors)}", "Give id, remove colors")
        if self.encoding == "rgb" and (entry.id is not None or not entry.mask_colors):
            rule = f"under encoding: rgb class {entry.name} must have color or colors, and no id"
            remedy = "Give color in quotes (an unquoted # starts a comment in YAML), remove id"
            raise InputError(rule, f"id {entry.id}, colours {list(entry.mask_colors)}", remedy)

    def _refuse_repeated(self) -> None:
        names = [entry.name for entry in self.classes]
        for what, values in (("class name", names), (f"mask {self.encoding} value", self._mask_values())):
            repeated = [f"{value} {count} times" for value, count in Counter(values).items() if count > 1]
            if repeated:
                remedy = "Keep one, or merge the classes with colors" if self.encoding == "rgb" else "Keep one"
                raise InputError(f"each {what} must occur once in classes and ignored", name_some(repeated), remedy)

    def _mask_values(self) -> list[Any]:
        if self.encoding == "ids":
            return [entry.id for entry in self.classes] + list(self.ignored)
        return [color for entry in self.classes for color in entry.mask_colors] + list(self.ignored)

    def with_root(self, root: Path | str) -> Self:
        """The same description of images in another folder."""
        return self.model_copy(update={"root": root})

    @property
    def mask_encoding(self) -> MaskEncoding:
        """What the values of a mask mean."""
        if self.encoding == "ids":
            ids = {entry.id: label for label, entry in enumerate(self.classes) if entry.id is not None}
            return MaskEncoding("ids", ids=ids | {value: IGNORED for value in self.ignored if isinstance(value, int)})
        colors = {color: label for label, entry in enumerate(self.classes) for color in entry.mask_colors}
        ignored = {value: IGNORED for value in self.ignored if isinstance(value, tuple)}
        return MaskEncoding("rgb", colors=colors | ignored)

    @property
    def label_classes(self) -> tuple[LabelClass, ...]:
        """The classes in label order, with a colour each."""
        return tuple(
            LabelClass(entry.name, next(iter(entry.mask_colors), _figure_color(label)), entry.thing)
            for label, entry in enumerate(self.classes)
        )


def _figure_color(label: int) -> tuple[int, int, int]:
    """A colour for a class that has none: hues a golden angle apart, so that neighbours in label order differ."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.75, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def load_description(path: Path) -> Description:
    """Read a data-set YAML.

    Args:
        path: The file.

    Returns:
        The description, validated; its root is relative to the same folder as `path` is.

    Raises:
        InputError: When it cannot be read, or its first broken rule.
    """
    description, problems = scan_description(path)
    if description is None:
        refuse_any(problems)
    return cast(Description, description)


def scan_description(path: Path) -> tuple[Description | None, list[Problem]]:
    """Read a data-set YAML and say all that is wrong with it.

    Args:
        path: The file.

    Returns:
        The description, whose root is relative to the same folder as `path` is, or None and the problems.
    """
    rule = f"{_KEY} must be a YAML file"
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        value = os_fault(error) if isinstance(error, OSError) else f"{error}"
        return None, [Problem(path, rule, value, "Correct the path or the file")]
    if not isinstance(given, dict):
        return None, [Problem(path, f"{rule} of keys and values", type(given).__name__, "Start from an example")]
    try:
        description = Description.model_validate(given)
    except ValidationError as error:
        return None, [_explain(path, details) for details in error.errors()]
    if isinstance(description.root, Path):
        description = description.with_root(path.parent / description.root.expanduser())
    return description, []


def _explain(path: Path | None, details: ErrorDetails) -> Problem:
    """One of pydantic's errors as a problem; the ones that we raised keep their remedy.

    Args:
        path: Of the YAML, or None for a description in a config.
        details: The error.
    """
    key = ".".join([*([] if path else [_KEY]), *(str(part) for part in details["loc"])])
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return Problem(path, f"{key}: {cause.rule}" if key else cause.rule, f"{cause.value}", cause.remedy)
    if details["type"] == "extra_forbidden":
        return Problem(path, f"{key} must be a key that descriptions have", key, "Remove it or correct its spelling")
    if details["type"] == "missing":
        return Problem(path, f"{key} must be given", "nothing", "Add the key")
    return Problem(path, f"{key}: {details['msg']}", repr(details["input"]), "Correct the value")


_KEY: Final = "dataset.description"


def _explained(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Read a description in a config, and say of each mistake what a file with it would be told."""
    try:
        return check(given)
    except ValidationError as error:
        problems = [_explain(None, details) for details in error.errors()]
        errors = [InputError(problem.rule, problem.value, problem.remedy) for problem in problems]
        lines: list[InitErrorDetails] = [
            {"type": PydanticCustomError("value_error", "{error}", {"error": mistake}), "input": given}
            for mistake in errors
        ]
        raise ValidationError.from_exception_data(Description.__name__, lines) from None


DescriptionOrFile = Annotated[
    # Told apart by hand: of a plain union, pydantic would name the mistakes in both readings.
    Annotated[Path, Tag("path")] | Annotated[Description, WrapValidator(_explained), Tag("mapping")],
    Discriminator(lambda given: "mapping" if isinstance(given, Mapping | Description) else "path"),
]
"""A data-set YAML, or what it says."""
