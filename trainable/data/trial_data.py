"""The data of a trial: image set, cache and splits, opened once a process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from trainable.data.dataset_config import DatasetConfig
from trainable.data.dataset_problem import Problem, ProblemError, name_some
from trainable.data.files.pictures import orientation_problem
from trainable.data.identical_images import find_identical_images, warn_of_identical_images
from trainable.data.image_cache import ImageCache, Progress, open_cache
from trainable.data.image_set import ImageSet, Split
from trainable.data.read_image_set import read_image_set
from trainable.data.scene_split import SplitAssignment, assign_splits
from trainable.errors import InputError


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
        """What the user should know about this set and its splits; looks into the files, so ask once."""
        return (*self.image_set.warnings, *self.splits.warnings, *_warn_of_files(self.image_set, self.splits))


def _warn_of_files(image_set: ImageSet, splits: SplitAssignment) -> list[str]:
    """What decoding does not show."""
    members: dict[Split, tuple[int, ...]] = {"train": splits.train, "dev": splits.dev, "val": splits.val}
    found = [
        _warn_of_turned(image_set),
        warn_of_identical_images(image_set, members, find_identical_images(image_set, members)),
    ]
    return [f"{problem.problem}. {problem.remedy}." for problem in found if problem]


def _warn_of_turned(image_set: ImageSet) -> Problem | None:
    """One warning for all images that viewers turn."""
    turned = {sample.id: problem for sample in image_set if (problem := orientation_problem(sample.image))}
    if not turned:
        return None
    first = next(iter(turned.values()))
    return replace(first, file=None, value=f"{len(turned)} of another orientation ({name_some(list(turned))})")


def open_trial_data(
    config: DatasetConfig,
    cache_dir: Path,
    on_progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> TrialData:
    """Read, decode (or open the cache of) and split an image set.

    Args:
        config: Which image set; its paths are absolute.
        cache_dir: Where this node keeps decoded images.
        on_progress: Called with (images done, images in all) while a cache is built.
        say: Prints a line for the user when the set is copied from elsewhere.

    Raises:
        InputError: The image set cannot be used.
    """
    image_set = read_image_set(config, cache_dir, say)
    try:
        cache = open_cache(image_set, cache_dir, on_progress)
    except ProblemError as error:
        # The first of perhaps many: decoding stops there.
        raise InputError(error.rule, error.value, f"{error.remedy}; `aerosweep data check` lists all") from error
    if not cache.pixel_counts.any():
        raise InputError(
            "an image set must have a pixel that is not ignored",
            f"{len(image_set)} masks of ignored pixels only",
            "Correct the ignored values of its description, or the masks",
        )
    return TrialData(image_set, cache, assign_splits(image_set, cache.pixel_counts, config.dev_share, config.dev_seed))


@lru_cache(maxsize=2)
def _reopen(config_json: str, cache_dir: Path) -> TrialData:
    return open_trial_data(DatasetConfig.model_validate_json(config_json), cache_dir)


def reuse_trial_data(config: DatasetConfig, cache_dir: Path) -> TrialData:
    """The same as `open_trial_data`, remembered: a warm worker opens the set of its search once."""
    return _reopen(config.model_dump_json(), cache_dir)
