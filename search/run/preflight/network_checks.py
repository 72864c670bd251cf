"""Whether every network of a space can be built, trained on its crops, and evaluated on the images: from shapes alone.

A network is run on torch's meta device, which computes the shapes of all tensors and no number: a tenth of a second
and no memory, however large the images. Where it cannot run there (it looks at numbers, or keeps tensors in places of
its own) it is run for real.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from search.run.preflight.refused_networks import NAMES, Refused, config_of, problems_of
from search.space.space import Domain, Fixed, Space, Value, exists, lowest, values_of
from trainable.config.config_problem import raise_all
from trainable.config.sections import DataConfig, ModelConfig
from trainable.config.user_class import in_one_line, is_reference
from trainable.errors import InputError
from trainable.measure.prediction import padded
from trainable.measure.tiles import tiles
from trainable.network.model import build_model, smallest_batch
from trainable.out_of_memory import is_out_of_memory

Size = tuple[int, int]
"""Height and width in pixels."""

_MOST_VIEWS: Final = 8
"""Sizes that a network is tried on at the most; of more, those that differ most."""


def check_networks(space: Space, num_classes: int, views: Sequence[Size] = ()) -> None:
    """Check all networks of a space; this also fetches the encoders' weights.

    Args:
        space: The space.
        num_classes: Channels of the logits.
        views: What evaluation shows a network, as of `evaluation_views`.

    Raises:
        InputError: All networks that cannot be built, trained or evaluated, and how to leave them out of the space.
    """
    crops, alone = crop_sizes(space), lowest(batch_sizes(space)) == 1
    refused: list[Refused] = []
    missing: dict[tuple[str, str], InputError] = {}
    passing: list[dict[str, Value]] = []
    for point in model_points(space):
        model = config_of(point)
        encoder = (model.encoder, model.encoder_weights)
        try:
            if encoder in missing:  # to try to fetch them again would take long, and end the same way
                raise missing[encoder]
            _Trial(model, num_classes).run(crops, views, alone)
        except InputError as error:
            refused.append(Refused(point, error))
            if error.rule.startswith("model.encoder_weights"):
                missing[encoder] = error
        else:
            passing.append(point)
    raise_all(problems_of(refused, passing, space))


def evaluation_views(shapes: NDArray[np.int64]) -> list[Size]:
    """Sizes of what evaluation shows a network of such images: all, or of many those that differ most.

    A network that fails on some size fails on the smallest, on the largest, on all but one, or on multiples of 32 that
    are none of a larger stride: the extremes, and one of each remainder by 128, stand for all.

    Args:
        shapes: int64 (images x 2), height and width.
    """
    sizes = sorted({padded(tile.window.height, tile.window.width) for tile in tiles(shapes)})
    if len(sizes) <= _MOST_VIEWS:
        return sizes
    extremes = [end(sizes, key=key) for key in (_area, _height, _width) for end in (min, max)]
    remainders = {(height % 128, width % 128): (height, width) for height, width in sizes}
    return list(dict.fromkeys([*extremes, *remainders.values()]))[:_MOST_VIEWS]


def _area(size: Size) -> int:
    return size[0] * size[1]


def _height(size: Size) -> int:
    return size[0]


def _width(size: Size) -> int:
    return size[1]


def batch_sizes(space: Space) -> Domain:
    """The domain of the batch size."""
    return space.domains.get("data.batch_size", Fixed(DataConfig().batch_size))


def crop_sizes(space: Space) -> list[Size]:
    """All crop sizes of a space."""
    crops = values_of(space.domains.get("data.crop", Fixed(DataConfig().crop)))
    return [DataConfig(crop=str(text)).crop_size for text in crops]


def model_points(space: Space) -> list[dict[str, Value]]:
    """All networks of a space as values by flat key; of a range its two ends."""
    points: list[dict[str, Value]] = [{}]
    for key, domain in space.domains.items():
        if key.startswith("model."):
            points = [further for point in points for further in _extend(point, key, values_of(domain))]
    return [point for point in points if not space.excludes(point)]


def _extend(point: dict[str, Value], key: str, values: tuple[Value, ...]) -> list[dict[str, Value]]:
    """The point with each of the values, or as it is where the key does not exist."""
    return [point | {key: value} for value in values] if exists(key, point) else [point]


def model_configs(space: Space) -> list[ModelConfig]:
    """All networks of a space; of a range its two ends."""
    return [config_of(point) for point in model_points(space)]


class _Trial:
    """What a trial does with a network, on shapes.

    Args:
        model: The network.
        num_classes: Channels of the logits.

    Raises:
        InputError: It cannot be built.
    """

    def __init__(self, model: ModelConfig, num_classes: int) -> None:
        self._model = model
        self._classes = num_classes
        self._network = build_model(model, num_classes)
        with suppress(Exception):  # of a network of the user's own, which is then run for real
            self._network.to("meta")
        self._own = is_reference(model.architecture)
        self._real: nn.Module | None = None

    def run(self, crops: Iterable[Size], views: Iterable[Size], alone: bool) -> None:
        """Train on crops and evaluate views.

        Args:
            crops: Sizes.
            views: Sizes.
            alone: Whether a batch may be of one crop.

        Raises:
            InputError: The first step that fails.
        """
        for crop in crops:
            self._step(2, crop, training=True)
            if alone:
                self._require_batch_of_one(crop)
        for view in views:
            self._step(1, view, training=False)

    def _step(self, images: int, size: Size, training: bool) -> None:
        shape = (images, 3, *size)
        try:
            logits = self._logits(shape, training)
        except Exception as error:  # whatever a network of the user's own raises
            if is_out_of_memory(error):
                return  # of this machine, which need not be the one that trains
            raise self._refusal(size, training, error) from error
        expected = (images, self._classes, *size)
        if not isinstance(logits, torch.Tensor) or logits.shape != expected:
            raise InputError(
                f"{NAMES} must give logits (N, classes, H, W) = {expected} for images of {_text(size)}"
                f" in {'training' if training else 'evaluation'}",
                tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__,
                "Give it an output channel a class, and let it enlarge its output to the size of the image",
            )

    @torch.no_grad()
    def _logits(self, shape: tuple[int, ...], training: bool) -> object:
        try:
            return self._network.train(training)(torch.zeros(shape, device="meta"))
        except Exception:  # of the network, or of the device, which is not for all of them
            self._real = self._real or build_model(self._model, self._classes)
            return self._real.train(training)(torch.zeros(shape))

    def _refusal(self, size: Size, training: bool, error: Exception) -> InputError:
        reason = " ".join(str(error).split())[:200].rstrip(".") or in_one_line(error)
        if training:
            rule = f"data.crop must be a size that {NAMES} can be trained on"
            remedy = "Mend its forward, or use other crops" if self._own else "Use other crops, or another network"
            return InputError(rule, f"{_text(size)}: {reason}", remedy)
        rule = f"{NAMES} must run on {_text(size)} pixels, as evaluation shows it images of dev and val"
        return InputError(rule, reason, "Mend its forward" if self._own else "Use another encoder: no crop mends it")

    def _require_batch_of_one(self, crop: Size) -> None:
        try:
            smallest = smallest_batch(self._network, crop)
        except Exception:  # as above
            self._real = self._real or build_model(self._model, self._classes)
            smallest = smallest_batch(self._real, crop)
        if smallest > 1:
            raise InputError(
                f"data.batch_size must be at least {smallest} for {NAMES} on crops of {_text(crop)}: a "
                "BatchNorm layer of it sees a single pixel of each, which has no variance",
                1,
                "Raise it, or use another network",
            )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
