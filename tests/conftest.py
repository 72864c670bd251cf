"""What tests share: small image sets on disk and in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainable.dataset_config import DatasetConfig
from trainable.image_set import IGNORED, ImageSet, LabelClass, MaskEncoding, Sample
from trainable.objects import find_objects
from trainable.trial_data import open_trial_data

torch.set_num_threads(1)


class ArrayCache:
    """The interface of `trainable.image_cache.ImageCache` over arrays that a test gives; read-only, as the maps are."""

    def __init__(self, pairs, num_classes, thing_labels=()):
        self._pairs = [(np.array(image, dtype=np.uint8), np.array(mask, dtype=np.uint8)) for image, mask in pairs]
        for array in (array for pair in self._pairs for array in pair):
            array.flags.writeable = False
        masks = [mask for _, mask in self._pairs]
        self.shapes = np.array([mask.shape for mask in masks], dtype=np.int64)
        self.pixel_counts = np.array([np.bincount(m.ravel(), minlength=256)[:num_classes] for m in masks])
        self._objects = [find_objects(mask, thing_labels) for mask in masks]

    def __len__(self):
        return len(self._pairs)

    def image(self, index):
        return self._pairs[index][0]

    def mask(self, index):
        return self._pairs[index][1]

    def objects(self, index):
        return self._objects[index]


@pytest.fixture(scope="session")
def array_cache():
    """Makes a cache of (image HxWx3, labels HxW) pairs: `array_cache(pairs, num_classes, thing_labels=())`."""
    return ArrayCache


@pytest.fixture(scope="session")
def write_image_set():
    """Writes (image HxWx3, labels HxW) pairs as PNGs: `write_image_set(folder, pairs, num_classes)`; a scene each."""

    def write(folder: Path, pairs, num_classes: int) -> ImageSet:
        folder.mkdir(parents=True, exist_ok=True)
        samples = []
        for number, (image, mask) in enumerate(pairs):
            name = f"{number:03d}"
            Image.fromarray(np.asarray(image, dtype=np.uint8)).save(folder / f"{name}.png")
            Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(folder / f"{name}_mask.png")
            samples.append(Sample(name, folder / f"{name}.png", folder / f"{name}_mask.png", name, "train"))
        classes = tuple(LabelClass(f"class {label}", (label, 0, 0), False) for label in range(num_classes))
        ids = {label: label for label in range(num_classes)} | {IGNORED: IGNORED}
        return ImageSet("small", classes, MaskEncoding("ids", ids=ids), tuple(samples))

    return write


@pytest.fixture(scope="session")
def synthetic_config():
    """The smallest synthetic set."""
    return DatasetConfig(layout="synthetic", images=40, size="64x96")


@pytest.fixture(scope="session")
def synthetic_cache_dir(tmp_path_factory):
    """Where the session keeps decoded images."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def synthetic_data(synthetic_config, synthetic_cache_dir):
    """The smallest synthetic set, opened."""
    return open_trial_data(synthetic_config, synthetic_cache_dir)
