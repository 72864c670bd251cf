"""The colours of figures: the data set's own for classes, or colours that the colour-blind can tell apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainable.config.loss_registry import LOSS_NAMES
from trainable.data.image_set import LabelClass

Color = tuple[float, float, float]
"""RGB, each in 0..1."""

_SAFE: Final = (
    (159, 1, 98), (0, 159, 129), (255, 90, 175), (0, 252, 207), (132, 0, 205), (0, 141, 249),
    (0, 194, 249), (255, 178, 253), (164, 1, 34), (226, 1, 52), (255, 110, 58), (255, 195, 59),
)  # fmt: skip
"""Twelve colours that people with any common colour blindness tell apart (M. Krzywinski, Designing for color blindness,
https://mk.bcgsc.ca/colorblind)."""

_OKABE_ITO: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#8A8A8A")
"""For lines and points (Okabe and Ito 2008, Color universal design), without yellow, which vanishes on white."""


@dataclass(frozen=True)
class Palette:
    """How classes are coloured.

    Attributes:
        name: `classes` for the data set's own colours, `safe` for colours that the colour-blind can tell apart.
    """

    name: str

    def of_classes(self, classes: Sequence[LabelClass]) -> NDArray[np.uint8]:
        """The colour of each class, uint8 (C, 3)."""
        own = np.array([entry.color for entry in classes], dtype=np.uint8).reshape(-1, 3)
        return own if self.name == "classes" else _safe_colors(len(classes))

    def floats(self, classes: Sequence[LabelClass]) -> list[Color]:
        """The colour of each class as matplotlib takes it."""
        return [(r / 255, g / 255, b / 255) for r, g, b in self.of_classes(classes).tolist()]


CLASS_COLORS: Final = Palette("classes")
SAFE_COLORS: Final = Palette("safe")


def _safe_colors(count: int) -> NDArray[np.uint8]:
    """So many colours; beyond twelve they come again, darker each time."""
    rounds = np.arange(count) // len(_SAFE)
    colors = np.array(_SAFE, dtype=np.float64)[np.arange(count) % len(_SAFE)]
    return np.asarray(colors * 0.6 ** rounds[:, None]).round().astype(np.uint8)


def loss_colors(losses: Sequence[str]) -> dict[str, str]:
    """A colour for each loss, the same in every figure; losses of the user's own take what is left."""
    order = [*LOSS_NAMES, *sorted(set(losses) - set(LOSS_NAMES))]
    return {loss: _OKABE_ITO[place % len(_OKABE_ITO)] for place, loss in enumerate(order) if loss in losses}
