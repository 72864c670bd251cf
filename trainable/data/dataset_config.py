"""Which image set a trial learns from, as the user's config says it."""

import re
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from trainable.data.dataset_yaml import Description, DescriptionOrFile
from trainable.data.files.folder_url import FolderUrl, absolute, is_url, without_secret
from trainable.data.layout_registry import LAYOUTS
from trainable.errors import InputError

_OF_EVERY_LAYOUT: Final = ("layout", "dev_share", "dev_seed")
"""The other keys exist only under the layouts that name them in the registry."""

FEWEST_FRAMES = 2  # in a synthetic scene: things move in it
SMALLEST_SIDE = 64  # below that an AeroScapes-like person or drone is less than one pixel
LARGEST_SIDE = 2048


def parse_size(size: str) -> tuple[int, int]:
    """Read a size as the config writes it.

    Args:
        size: `HEIGHTxWIDTH` in pixels, for example `96x160`.

    Returns:
        Height and width.

    Raises:
        InputError: When it is not of that form.
    """
    match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", size)
    if match is None:
        raise InputError("a size must be HEIGHTxWIDTH in pixels", repr(size), "Write for example 96x160")
    return int(match[1]), int(match[2])


def not_given(key: str) -> InputError:
    """The error of a reader that lacks a key of its layout.

    The config's own rules require it; `model_copy` and `model_construct` do not check them.
    """
    return InputError(f"dataset.{key} must be given", "none", f"Set dataset.{key}")


def _is_layout(name: object) -> bool:
    return isinstance(name, str) and name in LAYOUTS


class DatasetConfig(BaseModel):
    """The `dataset` section of a config.

    Attributes:
        layout: How the set lies on disk, one of `LAYOUTS`: `aeroscapes` as published, `described` by a data-set YAML,
            or `synthetic`, made on first use.
        root: The folder of an `aeroscapes` set, a path or a URL; for `described`, overrides the description's own root.
        description: The data-set YAML of a `described` set, or what such a file says.
        dev_share: Share of the train images held out for tuning, in whole scenes, where the set gives no dev split.
        dev_seed: What these scenes are drawn from; of its own, so that trials with other seeds share the split.
        images: How many images a `synthetic` set has.
        size: Their size, `HEIGHTxWIDTH`.
        seed: What they are drawn from.
        scenes: How many scenes a `synthetic` set has; None: one for ten images, 8 to 16.
        imbalance: Things of a `synthetic` set have this many times fewer pixels, and are in as many times fewer
            images, than in AeroScapes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: str
    root: FolderUrl | None = None
    description: DescriptionOrFile | None = None
    dev_share: float = Field(default=0.15, gt=0, lt=1)
    dev_seed: int = Field(default=0, ge=0)
    images: int | None = Field(default=None, ge=40, le=100_000)  # 40: three frames and more in each scene
    size: str | None = None
    seed: int | None = Field(default=None, ge=0)
    scenes: int | None = Field(default=None, ge=8, le=200)
    imbalance: float | None = Field(default=None, ge=0.25, le=4)

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, given: Any) -> Any:
        """Resolve the defaults that only this layout has, so that no other set's record shows them."""
        if not isinstance(given, dict) or not _is_layout(given.get("layout")):
            return given
        defaults = LAYOUTS[given["layout"]].takes
        missing = {key: value for key, value in defaults.items() if value is not None and given.get(key) is None}
        return given | missing

    @field_validator("layout", mode="before")
    @classmethod
    def _known_layout(cls, layout: Any) -> Any:
        """Refuse an unknown layout as pydantic refuses what is none of several literals."""
        if not _is_layout(layout):
            *first, last = map(repr, LAYOUTS)
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})
        return layout

    @field_validator("root")
    @classmethod
    def _check_root(cls, root: Path | str | None) -> Path | str | None:
        return without_secret("dataset.root", root) if isinstance(root, str) else root

    @field_validator("size")
    @classmethod
    def _check_size(cls, size: str | None) -> str | None:
        if size is not None and not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in parse_size(size)):
            rule = f"both sides of dataset.size must lie in {SMALLEST_SIDE}..{LARGEST_SIDE}"
            raise InputError(rule, size, "Write for example 96x160")
        return size

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        layout = LAYOUTS[self.layout]
        for key, remedy in layout.requires.items():
            self._require(key, remedy)
        for key in type(self).model_fields:
            if key not in _OF_EVERY_LAYOUT and not layout.has(key):
                self._refuse(key)
        self._check_own_root()
        self._check_scenes()
        return self

    def _check_own_root(self) -> None:
        """A description in a file starts from its folder; one that is in a config goes wherever that goes."""
        root = self.description.root if isinstance(self.description, Description) else None
        if self.root is None and isinstance(root, Path) and not root.expanduser().is_absolute():
            raise InputError(
                "dataset.description.root must be absolute, or a URL, where no file says what it is relative to",
                root,
                "Write the whole path, or set dataset.root",
            )

    def _check_scenes(self) -> None:
        if self.scenes is not None and self.images is not None and self.scenes > self.images // FEWEST_FRAMES:
            raise InputError(
                f"a synthetic set must have {FEWEST_FRAMES} images a scene or more",
                f"dataset.images {self.images} and dataset.scenes {self.scenes}",
                "Raise dataset.images, or lower dataset.scenes",
            )

    def _require(self, key: str, remedy: str) -> None:
        if getattr(self, key) is None:
            raise InputError(f"dataset.layout {self.layout} needs dataset.{key}", "none", remedy)

    def _refuse(self, key: str) -> None:
        if getattr(self, key) is not None:
            raise InputError(
                f"dataset.layout {self.layout} takes no dataset.{key}",
                getattr(self, key),
                f"Remove dataset.{key} or change dataset.layout",
            )

    @property
    def is_made(self) -> bool:
        """Whether the images are made, not photographed: no evidence about losses."""
        return LAYOUTS[self.layout].is_made

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of a synthetic set's images."""
        if self.size is None:
            rule = "only a synthetic set has a size of its own"
            raise InputError(rule, f"layout {self.layout}", "Take the sizes from its images")
        return parse_size(self.size)

    def at(self, root: Path | str) -> Self:
        """Return a copy whose images lie in another folder, a path or a URL; a made set lies nowhere."""
        if not LAYOUTS[self.layout].has("root"):
            return self
        return self.model_copy(update={"root": absolute(root if is_url(root) else Path(root))})

    def absolute(self) -> Self:
        """Return a copy whose paths no longer depend on the current directory, for workers that run in another one."""
        changes: dict[str, Any] = {}
        if self.root is not None:
            changes["root"] = absolute(self.root)
        if isinstance(self.description, Path):
            changes["description"] = absolute(self.description)
        elif self.description is not None and self.root is None:
            changes["description"] = self.description.with_root(absolute(self.description.root))
        return self.model_copy(update=changes)
