"""Objects of training images pasted into other crops: rare things seen more often, before other grounds.

Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", CVPR 2021; here the
object's class is drawn first, so that rare classes come as often as frequent ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainable.config.sections import DataConfig
from trainable.data.image_cache import ImageCache
from trainable.data.image_set import IGNORED

_STREAM: Final = 1
"""Sets this module's draws apart from those of the crop at the same place; not 0, which would be the same seed."""


@dataclass(frozen=True)
class _Draw:
    """Uniform numbers in 0..1 that decide one paste."""

    whether: float
    which_class: float
    which_object: float
    row: float
    column: float
    flip: float


class ObjectPaster:
    """Pastes an object into crops, drawn by seed, epoch and position in the epoch alone.

    Args:
        cache: The decoded images.
        indices: The training samples.
        config: How often, and whether objects are flipped.
        seed: Of the data order and the augmentation.
    """

    def __init__(self, cache: ImageCache, indices: Sequence[int], config: DataConfig, seed: int) -> None:
        self._cache = cache
        self._config = config
        self._seed = seed
        labels = [cache.objects(int(index)).labels for index in indices]
        class_of = np.concatenate([np.zeros(0, dtype=np.int64), *labels])
        image_of = np.repeat(np.asarray(indices, dtype=np.int64), [len(of_image) for of_image in labels])
        object_of = np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(len(of_image)) for of_image in labels)])
        where = np.stack([image_of, object_of], axis=1)
        self._labels: list[int] = np.unique(class_of).tolist()
        self._places = [where[class_of == label] for label in self._labels]

    def paste(self, image: NDArray[np.uint8], mask: NDArray[np.uint8], epoch: int, position: int) -> None:
        """Paste an object, or leave the crop as it is; ignored pixels stay as they are in either case.

        Args:
            image: Pixels of the crop before it is magnified, HxWx3; written to. The object so takes the crop's
                magnification, and has the size that it has in the set.
            mask: Labels, HxW; written to.
            epoch: Of the crop.
            position: Of the crop in the epoch.
        """
        # All are drawn before any is used: trials that differ in one key still share the others.
        draw = _Draw(*np.random.default_rng((self._seed, epoch, position + 1, _STREAM)).random(6))
        if draw.whether >= self._config.copy_paste or not self._labels:
            return
        slot = int(draw.which_class * len(self._labels))
        places = self._places[slot]
        index, number = (int(part) for part in places[int(draw.which_object * len(places))])
        stamp, shape = self._cut_out(index, number)
        if self._config.horizontal_flip and draw.flip < 0.5:
            stamp, shape = stamp[:, ::-1], shape[:, ::-1]
        to_rows, from_rows = _overlap(int(draw.row * mask.shape[0]), shape.shape[0], mask.shape[0])
        to_columns, from_columns = _overlap(int(draw.column * mask.shape[1]), shape.shape[1], mask.shape[1])
        under = mask[to_rows, to_columns]
        where = shape[from_rows, from_columns] & (under != IGNORED)
        np.copyto(image[to_rows, to_columns], stamp[from_rows, from_columns], where=where[..., None])
        np.copyto(under, np.uint8(self._labels[slot]), where=where)

    def _cut_out(self, index: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The rectangle around an object: its pixels, and which of them are the object's."""
        objects = self._cache.objects(index)
        pixels = np.asarray(objects.pixels[objects.starts[number] : objects.starts[number + 1]])
        width = np.int32(self._cache.shapes[index][1])
        rows = pixels // width
        columns = pixels - rows * width
        top, left = int(rows[0]), int(columns.min())  # pixels ascend
        shape = np.zeros((int(rows[-1]) - top + 1, int(columns.max()) - left + 1), dtype=np.bool_)
        shape[rows - top, columns - left] = True
        image = self._cache.image(index)
        return image[top : top + shape.shape[0], left : left + shape.shape[1]], shape


def _overlap(middle: int, length: int, room: int) -> tuple[slice, slice]:
    """Where something with its middle at `middle` lies in 0..room, and which part of it that is."""
    start = middle - (length - 1) // 2
    first, last = max(0, start), min(room, start + length)
    return slice(first, last), slice(first - start, last - start)
