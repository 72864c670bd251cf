"""The data of a trial: image set, cache and splits, opened once a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trainable.dataset_config import DatasetConfig
from trainable.image_cache import ImageCache, Progress, open_cache
from trainable.image_set import ImageSet
from trainable.image_sets import read_image_set
from trainable.scene_split import SplitAssignment, assign_splits


@dataclass(frozen=True)
class TrialData:
    """Everything that trials read of an image set.

    Attributes:
        image_set: Classes and samples.
        cache: The decoded images.
        splits: Sample indices of train, dev and val.
    """

    image_set: ImageSet
    cache: ImageCache
    splits: SplitAssignment

    @property
    def num_classes(self) -> int:
        """Classes, the channels of the logits."""
        return len(self.image_set.classes)

    @property
    def warnings(self) -> Sequence[str]:
        """What the user should know about this set and its splits."""
        return (*self.image_set.warnings, *self.splits.warnings)


def open_trial_data(config: DatasetConfig, cache_dir: Path, on_progress: Progress | None = None) -> TrialData:
    """Read, decode (or open the cache of) and split an image set.

    Args:
        config: Which image set; its paths are absolute.
        cache_dir: Where this node keeps decoded images.
        on_progress: Called with (images done, images in all) while a cache is built.

    Raises:
        InputError: The image set cannot be used.
    """
    image_set = read_image_set(config, cache_dir)
    cache = open_cache(image_set, cache_dir, on_progress)
    return TrialData(image_set, cache, assign_splits(image_set, cache.pixel_counts, config.dev_share, config.dev_seed))


@lru_cache(maxsize=2)
def _reopen(config_json: str, cache_dir: Path) -> TrialData:
    return open_trial_data(DatasetConfig.model_validate_json(config_json), cache_dir)


def reuse_trial_data(config: DatasetConfig, cache_dir: Path) -> TrialData:
    """The same as `open_trial_data`, remembered: a warm worker opens the set of its search once."""
    return _reopen(config.model_dump_json(), cache_dir)
