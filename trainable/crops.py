"""Training crops: which image, where, at what scale, what is pasted into them and how they are distorted.

Every draw is a function of (seed, epoch, position in the epoch) alone: an interrupted epoch is drawn again the same,
and all trials of a search see the same images in the same order (common random numbers).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from trainable.config import DataConfig
from trainable.copy_paste import ObjectPaster
from trainable.image_cache import ImageCache
from trainable.image_set import IGNORED


@dataclass(frozen=True)
class Window:
    """A rectangle of an image in pixels; it may reach beyond the image, where nothing is scored."""

    top: int
    left: int
    height: int
    width: int


class CropSampler:
    """Draws the batches of an epoch.

    Args:
        cache: The decoded images.
        indices: The training samples.
        config: How to draw.
        seed: Of the data order and the augmentation.
    """

    def __init__(self, cache: ImageCache, indices: Sequence[int], config: DataConfig, seed: int) -> None:
        self._cache = cache
        self._config = config
        self._seed = seed
        self._indices = np.asarray(indices, dtype=np.int64)
        present = cache.pixel_counts[self._indices] > 0
        self._holders = [self._indices[present[:, label]] for label in np.flatnonzero(present.any(axis=0))]
        self._labels = np.flatnonzero(present.any(axis=0))
        self._paster = ObjectPaster(cache, self._indices.tolist(), config, seed) if config.copy_paste > 0 else None

    @property
    def steps(self) -> int:
        """Batches an epoch; all are full, the last one is filled from the epoch's start."""
        return -(-len(self._indices) * self._config.crops_per_image // self._config.batch_size)

    def batch(self, epoch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch `step` of `epoch`.

        Returns:
            images_NCHW uint8 and target_NHW int64 with IGNORED where nothing is scored.
        """
        order = self._order(epoch)
        positions = range(step * self._config.batch_size, (step + 1) * self._config.batch_size)
        crops = [self._crop(int(order[position % len(order)]), epoch, position) for position in positions]
        images, targets = zip(*crops, strict=True)
        return torch.stack(images), torch.stack(targets).long()

    def _order(self, epoch: int) -> NDArray[np.int64]:
        generator = np.random.default_rng((self._seed, epoch))
        return np.concatenate([generator.permutation(self._indices) for _ in range(self._config.crops_per_image)])

    def _crop(self, image_first: int, epoch: int, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = np.random.default_rng((self._seed, epoch, position + 1))
        # All decisions are drawn before any is used: trials that differ in one still share the others.
        class_first, which_class, which_image, which_pixel, zoom, down, across = generator.random(7)
        index, anchor = image_first, None
        if class_first < self._config.rare_class_first:
            index, anchor = self._class_first(which_class, which_image, which_pixel)
        low, high = np.log((self._config.scale_min, self._config.scale_max))
        window = self._window(index, float(np.exp(low + zoom * (high - low))), (down, across), anchor)
        # Copies: the maps are read-only, and torch wants to own what it may write to.
        image, mask = (array.copy() for array in cut(self._cache, index, window))
        if self._paster is not None:
            self._paster.paste(image, mask, epoch, position)
        image_CHW, mask_HW = _resize(image, mask, self._config.crop_size)
        return _distort(image_CHW, mask_HW, generator, self._config)

    def _class_first(self, which_class: float, which_image: float, which_pixel: float) -> tuple[int, tuple[int, int]]:
        """A class, then an image that has it, then one of its pixels, each uniformly."""
        slot = int(which_class * len(self._labels))
        holders = self._holders[slot]
        index = int(holders[int(which_image * len(holders))])
        mask = self._cache.mask(index)
        pixels = np.flatnonzero(mask == self._labels[slot])
        row, column = divmod(int(pixels[int(which_pixel * len(pixels))]), mask.shape[1])
        return index, (row, column)

    def _window(self, index: int, scale: float, place: tuple[float, float], anchor: tuple[int, int] | None) -> Window:
        sides = [max(1, round(side / scale)) for side in self._config.crop_size]
        starts = [
            _start(place[axis], sides[axis], int(self._cache.shapes[index][axis]), anchor[axis] if anchor else None)
            for axis in (0, 1)
        ]
        return Window(starts[0], starts[1], sides[0], sides[1])


def _start(place: float, side: int, length: int, anchor: int | None) -> int:
    """First row (or column) of a window: uniform over the places inside the image, around `anchor` if there is one.

    A window larger than the image is placed uniformly over the places that hold the whole image.
    """
    low, high = min(0, length - side), max(0, length - side)
    if anchor is not None:
        low, high = max(low, anchor - side + 1), min(high, anchor)
    return low + int(place * (high - low + 1))


def cut(cache: ImageCache, index: int, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The pixels of a window, uint8 HxWx3 and labels HxW; outside the image black and IGNORED."""
    height, width = (int(side) for side in cache.shapes[index])
    rows = slice(max(0, window.top), min(height, window.top + window.height))
    columns = slice(max(0, window.left), min(width, window.left + window.width))
    image, mask = cache.image(index)[rows, columns], cache.mask(index)[rows, columns]
    if mask.shape == (window.height, window.width):
        return image, mask
    before = (rows.start - window.top, columns.start - window.left)
    margins = [
        (before[0], window.height - before[0] - mask.shape[0]),
        (before[1], window.width - before[1] - mask.shape[1]),
    ]
    return np.pad(image, [*margins, (0, 0)]), np.pad(mask, margins, constant_values=IGNORED)


def _resize(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    image_CHW = torch.from_numpy(image).permute(2, 0, 1)
    mask_HW = torch.from_numpy(mask)
    if mask_HW.shape == size:
        return image_CHW, mask_HW
    image_CHW = F.resize(image_CHW, list(size), InterpolationMode.BILINEAR, antialias=True)
    return image_CHW, F.resize(mask_HW[None], list(size), InterpolationMode.NEAREST_EXACT)[0]


def _distort(
    image_CHW: torch.Tensor, mask_HW: torch.Tensor, generator: np.random.Generator, config: DataConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    mirrored, upended = generator.random(2) < 0.5
    if config.horizontal_flip and mirrored:
        image_CHW, mask_HW = image_CHW.flip(-1), mask_HW.flip(-1)
    if config.vertical_flip and upended:
        image_CHW, mask_HW = image_CHW.flip(-2), mask_HW.flip(-2)
    brightness, contrast, saturation = 1 + config.color_jitter * generator.uniform(-1, 1, 3)
    if config.color_jitter > 0:
        image_CHW = F.adjust_brightness(image_CHW, float(brightness))
        image_CHW = F.adjust_contrast(image_CHW, float(contrast))
        image_CHW = F.adjust_saturation(image_CHW, float(saturation))
    return image_CHW, mask_HW
