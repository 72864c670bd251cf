"""Suggestions of Optuna's that the space does not leave out."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import optuna

from search.space.exclusions import allowed_models
from search.space.space import Space, Value, suggest

_ASKS: Final = 5
"""How often a study is asked; further suggestions would cost more than a draw."""


def asked_points(study: optuna.Study, space: Space, seed: int) -> Iterator[dict[str, Value]]:
    """Ask a study for points of the space, again and again, each with other random numbers.

    Where the space leaves networks out, the last suggestion is for a network that is drawn evenly among the rest.

    A suggestion stays a running trial in the study: the sampler keeps away from its place, as from any running trial's.

    Args:
        study: With what is known so far; it is used for one suggestion alone.
        space: What is searched.
        seed: Seed of the draw among networks, in 0..2^32 - 1.

    Yields:
        All values that exist at the point, by flat key, the fixed ones included.
    """
    for _ in range(_ASKS):
        values = suggest(study.ask(), space)
        if not space.excludes(values):
            yield values
    if space.excluded:
        networks = allowed_models(space)
        study.enqueue_trial(space.searched(networks[int(np.random.default_rng(seed).integers(len(networks)))]))
        yield suggest(study.ask(), space)
