"""Everything that is wrong with an image set, found in one pass and without stopping at the first."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable.config.sections import EvaluationConfig
from trainable.data.checks.near_duplicates import BITS, ScenePair, find_scene_pairs, hash_image
from trainable.data.checks.split_contents import SplitContents, count_splits, warn_of_unjudged
from trainable.data.components import find_objects
from trainable.data.dataset_config import DatasetConfig
from trainable.data.dataset_problem import NAMED_AT_MOST, Problem, ProblemError
from trainable.data.files.masks import decode_mask, size_problem
from trainable.data.files.pictures import decode_image, orientation_problem
from trainable.data.identical_images import find_identical_images, warn_of_identical_images
from trainable.data.image_set import IGNORED, ImageSet, Sample, Split
from trainable.data.read_image_set import scan_image_set
from trainable.data.scene_split import assign_splits
from trainable.errors import InputError

THREADS = 8  # decoding releases the interpreter's lock


@dataclass(frozen=True)
class DatasetCheck:
    """What a check found.

    Attributes:
        problems: Problems first, then warnings (`Problem.warning`), which stop nothing.
        counts: Scenes and objects by class and split; None where the set cannot be split.
    """

    problems: list[Problem]
    counts: SplitContents | None


def check_dataset(
    config: DatasetConfig,
    cache_dir: Path,
    on_progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> DatasetCheck:
    """Read and decode a whole image set and list all that is wrong with it.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets and copies are kept; nothing else is written.
        on_progress: Called with the samples done and the samples in all.
        say: Prints a line for the user when the set is copied from elsewhere.
    """
    counts: SplitContents | None = None
    try:
        image_set, problems = scan_image_set(config, cache_dir, say)
    except InputError as error:
        image_set, problems = None, [_from_error(None, error)]
    if image_set is not None:
        files = _check_files(image_set, on_progress)
        problems += files.problems + [_remark(text) for text in image_set.warnings]
        # An empty split is a problem of the reader's already.
        if files.pixel_counts.any() and {"train", "val"} <= {sample.split for sample in image_set}:
            split_problems, counts = _check_splits(image_set, files, config)
            problems += split_problems
    return DatasetCheck(sorted(problems, key=lambda problem: problem.warning), counts)


def _from_error(file: Path | None, error: InputError) -> Problem:
    if isinstance(error, ProblemError):
        return error.problem
    return Problem(file, error.rule, f"{error.value}", error.remedy)


def _remark(text: str) -> Problem:
    return Problem(None, text.rstrip("."), "", "", warning=True)


@dataclass(frozen=True)
class _Files:
    """What decoding showed, of one sample or of all: then the arrays have one more axis, the first.

    Attributes:
        problems: Of the files.
        pixel_counts: Pixels of each class; zeros where the mask cannot be decoded.
        object_counts: Objects of each class, likewise.
        hashes: Of the image, (4,); zeros where it cannot be decoded.
    """

    problems: list[Problem]
    pixel_counts: NDArray[np.int64]
    object_counts: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def _check_files(image_set: ImageSet, on_progress: Callable[[int, int], None] | None) -> _Files:
    """Decode all samples."""
    shape = (len(image_set), len(image_set.classes))
    found = _Files([], np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros((shape[0], 4), np.uint64))
    with ThreadPoolExecutor(THREADS) as pool:
        for index, check in enumerate(pool.map(functools.partial(_check_sample, image_set), image_set)):
            found.problems.extend(check.problems)
            found.pixel_counts[index] = check.pixel_counts
            found.object_counts[index] = check.object_counts
            found.hashes[index] = check.hashes
            if on_progress is not None:
                on_progress(index + 1, len(image_set))
    return found


def _check_sample(image_set: ImageSet, sample: Sample) -> _Files:
    problems: list[Problem] = []
    image = _try(decode_image, sample.image, problems)
    labels = _try(lambda path: decode_mask(path, image_set.encoding), sample.mask, problems)
    if image is not None and labels is not None:
        mismatch = size_problem(sample, image.shape[:2], labels.shape)
        problems += [mismatch] if mismatch else []
    if image is not None:
        turned = orientation_problem(sample.image)
        problems += [turned] if turned else []
    hashes = np.zeros(4, np.uint64) if image is None else hash_image(image)
    if labels is None:
        none = np.zeros(len(image_set.classes), dtype=np.int64)
        return _Files(problems, none, none, hashes)
    pixel_counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)[: len(image_set.classes)]
    if not pixel_counts.any():
        rule = "a mask should have a pixel that is not ignored"
        remedy = "Label it, or leave the image out: it takes time and teaches nothing"
        problems.append(Problem(sample.mask, rule, "ignored pixels only", remedy, warning=True))
    return _Files(problems, pixel_counts, _count_objects(image_set, labels), hashes)


def _count_objects(image_set: ImageSet, labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Objects of each class, as an evaluation counts them by default."""
    objects = find_objects(labels, image_set.thing_labels)
    large = objects.sizes >= EvaluationConfig().min_object_pixels
    return np.bincount(objects.labels[large], minlength=len(image_set.classes))


def _try(decode: Callable[[Path], NDArray[np.uint8]], path: Path, problems: list[Problem]) -> NDArray[np.uint8] | None:
    """Decode, or note why not."""
    try:
        return decode(path)
    except InputError as error:
        problems.append(_from_error(path, error))
        return None


def _check_splits(
    image_set: ImageSet, files: _Files, config: DatasetConfig
) -> tuple[list[Problem], SplitContents | None]:
    """Choose dev as a search would with its default seed, and judge the splits."""
    try:
        assignment = assign_splits(image_set, files.pixel_counts, config.dev_share, config.dev_seed)
    except InputError as error:
        return [_from_error(None, error)], None
    splits: dict[Split, tuple[int, ...]] = {
        "train": assignment.train, "dev": assignment.dev, "val": assignment.val,
    }  # fmt: skip
    counts = count_splits(image_set, files.pixel_counts, files.object_counts, splits)
    same = find_identical_images(image_set, splits)
    hashes = files.hashes.copy()
    hashes[[index for group in same for index in group[1:]]] = 0  # one fact, one warning
    pairs = find_scene_pairs(hashes, splits, [sample.scene for sample in image_set])
    warnings = [*warn_of_unjudged(counts), warn_of_identical_images(image_set, splits, same)]
    problems = [_remark(text) for text in assignment.warnings] + [warning for warning in warnings if warning]
    return problems + _warn_of_copies(image_set, pairs), counts


def _warn_of_copies(image_set: ImageSet, pairs: list[ScenePair]) -> list[Problem]:
    """One warning, however many images are alike: the pairs of scenes, each with its closest images."""
    if not pairs:
        return []
    folder = os.path.commonpath([sample.image.parent for sample in image_set])
    named = [_describe(image_set, pair, folder) for pair in pairs[:NAMED_AT_MOST]]
    more = len(pairs) - len(named)
    named += [f"and {more} more pair{'s' * (more > 1)} of scenes"] if more else []
    total = sum(pair.count for pair in pairs)
    value = f"{total} pair{'s' * (total > 1)}: {'; '.join(named)}"
    rule = "images of different splits should not be near copies of each other"
    remedy = "Look at them; if they show one place, put their scenes on the same side (scene_regex, split)"
    return [Problem(None, rule, value, remedy, warning=True)]


def _describe(image_set: ImageSet, pair: ScenePair, folder: str) -> str:
    (first, second), (split, other) = pair.scenes, pair.splits
    closest = " and ".join(f"{image_set.samples[index].image.relative_to(folder)}" for index in pair.closest)
    return (
        f"{pair.count} of scene {first} ({split}) and scene {second} ({other}), the closest {closest} "
        f"with {pair.bits} of {BITS} bits different"
    )
