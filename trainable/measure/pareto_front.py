"""The front of the best trade-offs: what nothing beats in one value without losing in another."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(gains_NK: ArrayLike) -> NDArray[np.bool_]:
    """Find the rows that no other beats in one value without losing in another; equal rows share their lot.

    Args:
        gains_NK: Finite, (N, K); more is better: what is minimised is negated.

    Returns:
        bool (N,).

    Raises:
        ValueError: A value is not finite.
    """
    gains = np.asarray(gains_NK, dtype=np.float64)
    if not np.isfinite(gains).all():
        raise ValueError("a front needs finite values; got NaN or an infinity. Leave out rows that lack a value.")
    # Best first: a row can only be dominated by one before it, and then also by one that is itself on the front.
    front: list[int] = []
    for row in np.lexsort(gains.T[::-1])[::-1].tolist():
        if not _is_dominated(gains[row], gains[front]):
            front.append(row)
    chosen = np.zeros(len(gains), dtype=np.bool_)
    chosen[front] = True
    return chosen


def _is_dominated(gains_K: NDArray[np.float64], others_FK: NDArray[np.float64]) -> bool:
    return bool(((others_FK >= gains_K).all(axis=1) & (others_FK > gains_K).any(axis=1)).any())
