"""Points that were not tried, drawn evenly: for a sampler that suggests what was tried."""

from collections.abc import Collection
from typing import Final

import numpy as np
import optuna

from search.space.points import SpacePoints, point_identity
from search.space.space import Space, Value, suggest
from trainable.errors import InputError

_LISTED: Final = 1000
"""Points of a space that are listed however few of them were tried."""

_DRAWS: Final = 10_000


class UntriedPoints:
    """Draws among the points of a space.

    Args:
        space: What is searched.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._points = SpacePoints(space)

    def draw(self, tried: Collection[str], seed: int) -> dict[str, Value]:
        """A point that was not tried: the same from the same.

        Args:
            tried: Identities of points.
            seed: In 0..2^32 - 1.

        Raises:
            InputError: None is left.
        """
        # Where half of the points or more are left, a few draws find one.
        if self._points.count <= max(_LISTED, 2 * len(tried)):
            left = self._points.left(tried)
            if left:
                return left[int(np.random.default_rng(seed).integers(len(left)))]
        else:
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
            # Of a space where some choices leave nothing to search, and others a range, many draws are tried ones.
            for _ in range(_DRAWS):
                point = suggest(study.ask(), self._space)
                if not self._space.excludes(point) and point_identity(point) not in tried:
                    return point
        raise InputError(
            "space must have points that were not tried", f"{len(tried)} trials", "Widen the space in a new search"
        )
