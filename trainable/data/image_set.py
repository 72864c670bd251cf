"""What an image set is, whatever its layout: classes, samples, scenes and which split each sample is in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

IGNORED = 255
"""Label of a pixel that is never scored and adds nothing to a loss: ignored classes, padding."""

Split = Literal["train", "dev", "val"]


@dataclass(frozen=True)
class LabelClass:
    """A class of the image set.

    Attributes:
        name: Unique in its image set.
        color: RGB, each 0-255, for figures.
        thing: True for countable objects (person, car), False for stuff (road, sky).
    """

    name: str
    color: tuple[int, int, int]
    thing: bool


@dataclass(frozen=True)
class MaskEncoding:
    """How a mask file's pixels name classes.

    Attributes:
        kind: `ids` (one channel, mode L, P read as its indices, or I;16) or `rgb` (colours; palette PNGs count as RGB).
        ids: For `ids`: file id -> label (a class's index, or IGNORED).
        colors: For `rgb`: file colour -> label (a class's index, or IGNORED).
    """

    kind: Literal["ids", "rgb"]
    ids: Mapping[int, int] = field(default_factory=dict)
    colors: Mapping[tuple[int, int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        id: Unique in the image set.
        scene: Neighbouring frames share a scene; scenes, not images, are split.
        split: The split that the set's author or its description gives; `train` samples may be moved to `dev` later.
    """

    id: str
    image: Path
    mask: Path
    scene: str
    split: Split


@dataclass(frozen=True)
class ImageSet:
    """An image set as it lies on disk; nothing is decoded yet.

    Attributes:
        name: For the record and for figures.
        classes: In label order: a class's label is its index here.
        encoding: How masks name classes.
        samples: Sorted by id.
        warnings: Things that the user should know and that do not stop anything.
    """

    name: str
    classes: tuple[LabelClass, ...]
    encoding: MaskEncoding
    samples: tuple[Sample, ...]
    warnings: tuple[str, ...] = ()

    @property
    def thing_labels(self) -> tuple[int, ...]:
        """Labels of the thing classes, ascending."""
        return tuple(label for label, entry in enumerate(self.classes) if entry.thing)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def __len__(self) -> int:
        return len(self.samples)
