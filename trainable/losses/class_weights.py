"""Weights of the classes for the pixel losses, from how often each class occurs."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_RATIO: Final = 100.0
"""Largest weight of a class as a multiple of the most frequent class's: a few pixels must not decide every step."""


def class_weights(pixel_counts: NDArray[np.int64], power: float) -> list[float] | None:
    """Weigh classes by a power of their inverse frequency.

    With n_c the pixels of class c in the training split, N their sum and n_max the largest of them:

        raw_c = min((n_max / n_c)^power, MAX_RATIO), and 1 where n_c = 0
        weight_c = raw_c * N / sum_k(n_k raw_k)

    so that the mean of the weights over the training pixels is 1: the loss keeps its scale, and the learning rate its
    meaning, whatever the power. A class that the training split does not have teaches nothing there; a weight of 1
    before scaling only decides how much its pixels on dev add to the dev loss.

    Power 1 is the inverse frequency, 0.5 its square root (Mahajan et al. 2018, "Exploring the limits of weakly
    supervised pretraining", there for sampling). The effective number of samples (Cui et al. 2019, "Class-balanced loss
    based on effective number of samples") is the alternative, made for counts of images: at its beta of at most 0.9999
    it calls all classes of more than some ten thousand samples equally frequent, and so nearly all classes of pixels.

    Args:
        pixel_counts: Pixels of each class in the training split, (classes,).
        power: 0..1.

    Returns:
        A positive weight for each class; None at power 0, where all would be 1.
    """
    if power == 0 or not pixel_counts.any():
        return None
    occurs = pixel_counts > 0
    ratio = np.where(occurs, pixel_counts.max() / np.where(occurs, pixel_counts, 1), 1.0)
    raw = np.minimum(ratio**power, MAX_RATIO)
    weights: list[float] = (raw * (pixel_counts.sum() / (pixel_counts @ raw))).tolist()
    return weights
