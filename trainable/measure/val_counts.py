"""What a network did on val."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.measure.image_counts import ImageCounts


@dataclass(frozen=True, eq=False, kw_only=True)
class ValCounts(ImageCounts):
    """Counts on val, also after logit adjustment.

    Attributes:
        adjusted_counts: `counts` after logit adjustment with the tau that was fitted on dev.
        tau: The strength of the adjustment.
    """

    adjusted_counts: NDArray[np.int64]
    tau: float


@dataclass(frozen=True, eq=False)
class ValOutcome:
    """What measuring a network on val gave.

    Attributes:
        metrics: Finite values under the names of `trainable.record.metric_names`.
        matrix: int64 (C x C), rows true.
        counts: Image by image.
        notes: Lines for the user: what had to be changed to get here.
    """

    metrics: dict[str, float]
    matrix: NDArray[np.int64]
    counts: ValCounts
    notes: tuple[str, ...] = ()
