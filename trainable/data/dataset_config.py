"""Which image set a trial learns from, as the user's config says it."""

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trainable.data.files.folder_url import FolderUrl, absolute, is_url, without_secret
from trainable.data.layouts.dataset_yaml import Description, DescriptionOrFile
from trainable.errors import InputError

SYNTHETIC_DEFAULTS: dict[str, Any] = {"images": 120, "size": "96x160", "seed": 0, "imbalance": 1.0}
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


class DatasetConfig(BaseModel):
    """The `dataset` section of a config.

    Attributes:
        layout: `aeroscapes` as published, `described` by a data-set YAML, or `synthetic`, made on first use.
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

    layout: Literal["aeroscapes", "described", "synthetic"]
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
    def _fill_synthetic(cls, given: Any) -> Any:
        """Resolve the defaults that only a synthetic set has, so that no other set's record shows them."""
        if not isinstance(given, dict) or given.get("layout") != "synthetic":
            return given
        return given | {key: value for key, value in SYNTHETIC_DEFAULTS.items() if given.get(key) is None}

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
        if self.layout == "aeroscapes":
            self._require("root", "Give the folder that has JPEGImages, SegmentationClass and ImageSets")
            self._refuse("description", "images", "size", "seed", "scenes", "imbalance")
        elif self.layout == "described":
            self._require("description", "Give the path of the data-set YAML, or what it would say")
            self._refuse("images", "size", "seed", "scenes", "imbalance")
            self._check_own_root()
        else:
            self._refuse("root", "description")
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

    def _refuse(self, *keys: str) -> None:
        for key in keys:
            if getattr(self, key) is not None:
                raise InputError(
                    f"dataset.layout {self.layout} takes no dataset.{key}",
                    getattr(self, key),
                    f"Remove dataset.{key} or change dataset.layout",
                )

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of a synthetic set's images."""
        if self.size is None:
            rule = "only a synthetic set has a size of its own"
            raise InputError(rule, f"layout {self.layout}", "Take the sizes from its images")
        return parse_size(self.size)

    def at(self, root: Path | str) -> Self:
        """Return a copy whose images lie in another folder, a path or a URL; a synthetic set lies nowhere."""
        if self.layout == "synthetic":
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
