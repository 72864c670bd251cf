"""A suggestion of Optuna's that the space does not leave out."""

import random
from typing import Final

import optuna

from search.space.exclusions import allowed_models
from search.space.space import Space, Value, suggest

_ATTEMPTS: Final = 16
"""Suggestions, before a network is drawn evenly and the sampler chooses the rest."""


def ask_allowed(study: optuna.Study, space: Space, seed: int, number: int) -> dict[str, Value]:
    """Ask a study for a point of the space, again where it suggests what is left out.

    An asked trial stays running in the study: the sampler keeps away from its place, as from that of any other.

    Args:
        study: With what is known so far; it is used for this suggestion alone.
        space: What is searched.
        seed: Of the search.
        number: Of the suggestion.

    Returns:
        All values that exist at the point, by flat key, the fixed ones included.
    """
    for _ in range(_ATTEMPTS if space.excluded else 1):
        values = suggest(study.ask(), space)
        if not space.excludes(values):
            return values
    network = random.Random(f"{seed} {number}").choice(allowed_models(space))
    study.enqueue_trial(space.searched(network))
    return suggest(study.ask(), space)
