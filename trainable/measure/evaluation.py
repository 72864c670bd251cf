"""Evaluation of a network on a split at native resolution: counts on the device, padding never scored.

Beside the network's own needs it holds, however large an image is: the logits of one forward pass; for the logit
adjustment a block of their rows (4 MiB of logits on a CPU, 256 MiB on a GPU) a few times over; for the objects what a
band of 2 million pixels takes. What grows are the labels of one image, a byte a pixel, and the counts,
8 * (taus + 1) * classes^2 bytes an image.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainable.data.image_cache import ImageCache
from trainable.data.image_set import IGNORED
from trainable.device import Compute
from trainable.measure.argmax_labels import argmax_labels
from trainable.measure.confusion import confusion_matrices, outcome_counts
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.logit_adjustment import LogitAdjustment
from trainable.measure.object_errors import ObjectCounter
from trainable.measure.prediction import tile_logits
from trainable.measure.tiles import Tile


@dataclass(frozen=True, eq=False)
class Scoring:
    """What is counted beside pixels.

    Attributes:
        thing_labels: Classes whose objects are counted.
        min_object_pixels: Smaller objects are none.
        log_prior: Logarithm of each class's share of the training pixels.
        taus: Strengths of logit adjustment, ascending, whose confusion matrices are wanted.
    """

    thing_labels: tuple[int, ...]
    min_object_pixels: int
    log_prior: NDArray[np.float64]
    taus: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network did on a split.

    Attributes:
        per_image: int64 (images x classes x classes), confusion matrices, rows true, columns predicted.
        loss: Mean of the training criterion over forward passes, weighted by their scored pixels; NaN where there
            are none.
        sized_objects: int64 (images x classes x bins of size x 3): true objects, missed ones, false alarms; zeros for
            stuff.
        adjusted: int64 (taus x images x classes x classes), confusion matrices after logit adjustment.
    """

    per_image: NDArray[np.int64]
    loss: float
    sized_objects: NDArray[np.int64]
    adjusted: NDArray[np.int64]

    @property
    def matrix(self) -> NDArray[np.int64]:
        """int64 (classes x classes), the confusion matrix of the whole split."""
        matrix: NDArray[np.int64] = self.per_image.sum(axis=0)
        return matrix

    @property
    def objects(self) -> NDArray[np.int64]:
        """int64 (images x classes x 3): objects of all sizes."""
        objects: NDArray[np.int64] = self.sized_objects.sum(axis=2)
        return objects

    @property
    def per_image_counts(self) -> NDArray[np.int64]:
        """int64 (images x classes x 3): true positives, false negatives, false positives."""
        counts: NDArray[np.int64] = outcome_counts(torch.from_numpy(self.per_image)).numpy()
        return counts


@torch.no_grad()
def evaluate(
    model: nn.Module,
    criterion: nn.Module,
    cache: ImageCache,
    indices: Sequence[int],
    compute: Compute,
    scoring: Scoring,
    fitted: FittedTiles | None = None,
) -> Evaluation:
    """Run the network over images and count; where memory runs out, again from the start in smaller passes.

    Args:
        model: Maps images to logits_NCHW; set to evaluation mode here and left so.
        criterion: `criterion(logits_NCHW, target_NHW)`; it sees the logits once and as they are.
        cache: The decoded images.
        indices: Which of them.
        compute: Device and precision.
        scoring: What is counted beside pixels.
        fitted: In how large passes; what it learns about memory it keeps. Fewer images in a pass change no count, but
            the loss where it is no mean over pixels; smaller tiles also change labels beside their borders.

    Raises:
        InputError: Memory ran out on the smallest pass that is tried.
    """
    model.eval()
    return (fitted or FittedTiles()).cover(
        cache.shapes[list(indices)],
        compute.device,
        lambda passes: _count(model, criterion, cache, indices, compute, scoring, passes),
    )


def _count(
    model: nn.Module,
    criterion: nn.Module,
    cache: ImageCache,
    indices: Sequence[int],
    compute: Compute,
    scoring: Scoring,
    passes: Iterator[Tile],
) -> Evaluation:
    """Count what the network says in these passes, from zero."""
    classes = cache.pixel_counts.shape[1]
    per_image = torch.zeros(len(indices), classes, classes, dtype=torch.int64, device=compute.device)
    adjusted = per_image.repeat(len(scoring.taus), 1, 1, 1)
    adjustment = LogitAdjustment(scoring.log_prior, scoring.taus, compute.device)
    objects = ObjectCounter(cache, indices, scoring.thing_labels, scoring.min_object_pixels)
    losses: list[torch.Tensor] = []
    scored: list[torch.Tensor] = []
    predicted: _Predicted | None = None
    for tile in passes:
        logits, target = tile_logits(model, cache, [indices[position] for position in tile.positions], tile, compute)
        labels = argmax_labels(logits)
        if predicted is not None:
            predicted.count(objects)  # while a GPU computes this view
        predicted = _Predicted(tile, labels)
        matrices = confusion_matrices(labels, target, classes, IGNORED)
        where = torch.tensor(tile.positions, device=compute.device)
        per_image.index_add_(0, where, matrices)
        adjusted.index_add_(1, where, adjustment.confusion(logits, labels, target, matrices))
        losses.append(criterion(logits, target.long()))
        scored.append(matrices.sum())
    if predicted is not None:
        predicted.count(objects)
    return Evaluation(per_image.cpu().numpy(), _mean(losses, scored), objects.counts, adjusted.cpu().numpy())


class _Predicted:
    """Labels of a view on their way from the device.

    Args:
        tile: Which.
        labels_NHW: uint8, of its scored part.
    """

    def __init__(self, tile: Tile, labels_NHW: torch.Tensor) -> None:
        self._tile = tile
        self._labels_NHW = labels_NHW.to("cpu", non_blocking=True)
        self._arrived = torch.cuda.current_stream().record_event() if labels_NHW.is_cuda else None

    def count(self, objects: ObjectCounter) -> None:
        if self._arrived is not None:
            self._arrived.synchronize()
        objects.add(self._tile, self._labels_NHW.numpy())


def _mean(losses: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> float:
    """Weighted mean; NaN where nothing was scored."""
    if not losses:
        return float("nan")
    weight = torch.stack(list(weights)).double()
    return float((torch.stack(list(losses)).double() * weight).sum() / weight.sum())
