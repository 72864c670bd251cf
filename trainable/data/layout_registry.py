"""The layouts of image sets: what each is called, which keys of `dataset` it has, and what reads it.

Only words, because every config is checked against them: a reader is loaded when a set is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Layout:
    """How an image set lies on disk.

    Attributes:
        reader: `package.module:function`; the function is a `Reader` of `read_image_set`.
        requires: The keys of `dataset` that it cannot do without, each with the remedy where it is missing.
        takes: Further keys of `dataset` that this layout has and not every layout has, each with its default. A set of
            another layout neither has these keys nor records their defaults.
        is_made: Its images are made, not photographed: no evidence about losses.
        title: What a sentence calls such a set, where the set has no name of its own.
    """

    reader: str
    requires: Mapping[str, str] = field(default_factory=dict)
    takes: Mapping[str, Any] = field(default_factory=dict)
    is_made: bool = False
    title: str = "The image set"

    def has(self, key: str) -> bool:
        """Whether a set of this layout may have a key of `dataset` that only some layouts have."""
        return key in self.requires or key in self.takes


LAYOUTS: Final[dict[str, Layout]] = {
    "aeroscapes": Layout(
        "trainable.data.layouts.aeroscapes:read",
        requires={"root": "Give the folder that has JPEGImages, SegmentationClass and ImageSets"},
        title="AeroScapes",
    ),
    "described": Layout(
        "trainable.data.layouts.described_layout:read",
        requires={"description": "Give the path of the data-set YAML, or what it would say"},
        takes={"root": None},
    ),
    "synthetic": Layout(
        "trainable.data.synthetic.made_once:read",
        takes={"images": 120, "size": "96x160", "seed": 0, "scenes": None, "imbalance": 1.0},
        is_made=True,
        title="The synthetic image set",
    ),
}
"""Every layout by its name in a config. To add one, add an entry here, and the module of its reader."""
