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

from trainable.batches.augmentation import Augmentations, Numbers
from trainable.batches.batch_feed import Each
from trainable.batches.copy_paste import ObjectPaster
from trainable.config.sections import DataConfig
from trainable.data.image_cache import ImageCache
from trainable.data.image_set import IGNORED


@dataclass(frozen=True)
class Window:
    """A rectangle of an image in pixels; it may reach beyond the image, where nothing is scored."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropPlan:
    """What is decided of a crop before a pixel of it is read.

    Attributes:
        index: The image.
        window: The part of it.
        numbers: What decides each augmentation that is on, uniform in 0..1, by the config's field.
    """

    index: int
    window: Window
    numbers: Numbers


class CropSampler:
    """Draws the batches of an epoch.

    Args:
        cache: The decoded images.
        indices: The training samples.
        config: How to draw.
        seed: Of the data order and the augmentation.
        pinned: Whether batches lie in page-locked memory, from which a GPU copies while the host goes on.
    """

    def __init__(
        self, cache: ImageCache, indices: Sequence[int], config: DataConfig, seed: int, pinned: bool = False
    ) -> None:
        self._cache = cache
        self._config = config
        self._seed = seed
        self._pinned = pinned
        self._indices = np.asarray(indices, dtype=np.int64)
        present = cache.pixel_counts[self._indices] > 0
        self._holders = [self._indices[present[:, label]] for label in np.flatnonzero(present.any(axis=0))]
        self._labels = np.flatnonzero(present.any(axis=0))
        self._paster = ObjectPaster(cache, self._indices.tolist(), config, seed) if config.copy_paste > 0 else None
        self._augmentations = Augmentations(config)
        self._log_scales = np.log((config.scale_min, config.scale_max))
        self._last_order = (0, self._indices)

    @property
    def steps(self) -> int:
        """Batches an epoch; all are full, the last one is filled from the epoch's start."""
        return -(-len(self._indices) * self._config.crops_per_image // self._config.batch_size)

    def batch(self, epoch: int, step: int, each: Each = map) -> tuple[torch.Tensor, torch.Tensor]:
        """Batch `step` of `epoch`, from 1.

        Args:
            epoch: From 1.
            step: Of the epoch, from 0.
            each: Makes the crops, one after the other or side by side: they are the same.

        Returns:
            images_NCHW uint8, in memory channels last as the maps are, and target_NHW uint8 with IGNORED where nothing
            is scored.
        """
        size = self._config.batch_size
        images_NHWC = torch.empty(size, *self._config.crop_size, 3, dtype=torch.uint8, pin_memory=self._pinned)
        target_NHW = torch.empty(size, *self._config.crop_size, dtype=torch.uint8, pin_memory=self._pinned)

        def write(slot: int) -> None:
            self._write_crop(epoch, step * size + slot, images_NHWC[slot].permute(2, 0, 1), target_NHW[slot])

        list(each(write, range(size)))
        return images_NHWC.permute(0, 3, 1, 2), target_NHW

    def plan(self, epoch: int, position: int) -> CropPlan:
        """Decide about the crop at a position of an epoch, from 0."""
        generator = np.random.default_rng((self._seed, epoch, position + 1))
        # All decisions are drawn before any is used: trials that differ in one still share the others.
        class_first, which_class, which_image, which_pixel, zoom, down, across = generator.random(7)
        numbers = self._augmentations.draw(generator)
        order = self._order(epoch)
        index, anchor = int(order[position % len(order)]), None
        if class_first < self._config.rare_class_first:
            index, anchor = self._class_first(which_class, which_image, which_pixel)
        low, high = self._log_scales
        scale = float(np.exp(low + zoom * (high - low)))
        return CropPlan(index, self._window(index, scale, (down, across), anchor), numbers)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self._last_order[0] != epoch:
            generator = np.random.default_rng((self._seed, epoch))
            times = range(self._config.crops_per_image)
            self._last_order = (epoch, np.concatenate([generator.permutation(self._indices) for _ in times]))
        return self._last_order[1]

    def _write_crop(self, epoch: int, position: int, image_CHW: torch.Tensor, mask_HW: torch.Tensor) -> None:
        """Make the crop in its place in the batch; between there and the map pixels are copied once where they can."""
        plan = self.plan(epoch, position)
        image, mask = cut(self._cache, plan.index, plan.window)
        if self._paster is not None:
            image, mask = image.copy(), mask.copy()  # the maps are read-only
            self._paster.paste(image, mask, epoch, position)
        _fit(image, mask, image_CHW, mask_HW)
        self._augmentations.apply(image_CHW, mask_HW, plan.numbers)

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


def _fit(image: NDArray[np.uint8], mask: NDArray[np.uint8], image_CHW: torch.Tensor, mask_HW: torch.Tensor) -> None:
    """Magnify pixels and labels to the size of what they are written to."""
    size = mask_HW.shape
    if mask.shape == size:
        np.copyto(image_CHW.permute(1, 2, 0).numpy(), image)
        np.copyto(mask_HW.numpy(), mask)
        return
    # A copy, because torch takes no read-only array; its resizing would make one anyway, of what has gaps in memory.
    source_CHW = torch.from_numpy(image.copy()).permute(2, 0, 1)
    image_CHW.copy_(F.resize(source_CHW, list(size), InterpolationMode.BILINEAR, antialias=True))
    rows, columns = (_nearest(*lengths) for lengths in zip(mask.shape, size, strict=True))
    np.take(mask[rows], columns, axis=1, out=mask_HW.numpy(), mode="clip")  # another mode would write to a copy


def _nearest(length: int, wanted: int) -> NDArray[np.intp]:
    """The pixel that each of `wanted` pixels takes its label from: torch's `nearest-exact`, computed as it does."""
    middles = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * (np.float32(length) / np.float32(wanted))
    return np.minimum(middles.astype(np.intp), length - 1)
