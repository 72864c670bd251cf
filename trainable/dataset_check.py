"""Everything that is wrong with an image set, found in one pass and without stopping at the first."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.dataset_config import DatasetConfig
from trainable.dataset_problem import Problem, ProblemError
from trainable.errors import InputError
from trainable.image_set import IGNORED, ImageSet, MaskEncoding, Sample
from trainable.image_sets import scan_image_set
from trainable.mask_encoding import decode_image, decode_mask, size_problem
from trainable.scene_split import assign_splits

EXIF_ORIENTATION = 0x0112
THREADS = 8  # decoding releases the interpreter's lock


def check_dataset(
    config: DatasetConfig, cache_dir: Path, on_progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Read and decode a whole image set and list all that is wrong with it.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets are kept; nothing else is written.
        on_progress: Called with the samples done and the samples in all.

    Returns:
        Problems first, then warnings (`Problem.warning`), which stop nothing.
    """
    try:
        image_set, problems = scan_image_set(config, cache_dir)
    except InputError as error:
        image_set, problems = None, [_from_error(None, error)]
    if image_set is not None:
        files, pixel_counts = _check_files(image_set, on_progress)
        problems += files + [_remark(text) for text in image_set.warnings]
        if any(counts.any() for counts in pixel_counts):
            problems += _check_splits(image_set, pixel_counts, config)
    return sorted(problems, key=lambda problem: problem.warning)


def _from_error(file: Path | None, error: InputError) -> Problem:
    if isinstance(error, ProblemError):
        return error.problem
    return Problem(file, error.rule, f"{error.value}", error.remedy)


def _remark(text: str) -> Problem:
    return Problem(None, text.rstrip("."), "", "", warning=True)


@dataclass(frozen=True)
class _FileCheck:
    """What decoding one sample showed.

    Attributes:
        problems: Of its two files.
        pixel_counts: Pixels of each class; zeros where the mask cannot be decoded.
    """

    problems: list[Problem]
    pixel_counts: NDArray[np.int64]


def _check_files(
    image_set: ImageSet, on_progress: Callable[[int, int], None] | None
) -> tuple[list[Problem], NDArray[np.int64]]:
    """Decode all samples."""
    problems: list[Problem] = []
    pixel_counts = np.zeros((len(image_set), len(image_set.classes)), dtype=np.int64)
    check_sample = functools.partial(_check_sample, encoding=image_set.encoding, classes=len(image_set.classes))
    with ThreadPoolExecutor(THREADS) as pool:
        for index, check in enumerate(pool.map(check_sample, image_set)):
            problems += check.problems
            pixel_counts[index] = check.pixel_counts
            if on_progress is not None:
                on_progress(index + 1, len(image_set))
    return problems, pixel_counts


def _check_sample(sample: Sample, encoding: MaskEncoding, classes: int) -> _FileCheck:
    problems: list[Problem] = []
    image = _try(decode_image, sample.image, problems)
    labels = _try(lambda path: decode_mask(path, encoding), sample.mask, problems)
    if image is not None and labels is not None:
        mismatch = size_problem(sample, image.shape[:2], labels.shape)
        problems += [mismatch] if mismatch else []
    if image is not None:
        problems += _check_orientation(sample.image)
    if labels is None:
        return _FileCheck(problems, np.zeros(classes, dtype=np.int64))
    counts = np.bincount(labels.ravel(), minlength=IGNORED + 1)[:classes]
    if not counts.any():
        rule = "a mask should have a pixel that is not ignored"
        remedy = "Label it, or leave the image out: it takes time and teaches nothing"
        problems.append(Problem(sample.mask, rule, "ignored pixels only", remedy, warning=True))
    return _FileCheck(problems, counts)


def _try(decode: Callable[[Path], NDArray[np.uint8]], path: Path, problems: list[Problem]) -> NDArray[np.uint8] | None:
    """Decode, or note why not."""
    try:
        return decode(path)
    except InputError as error:
        problems.append(_from_error(path, error))
        return None


def _check_orientation(path: Path) -> list[Problem]:
    """Look whether viewers (and labelling tools) turn the image, which is read as its pixels lie."""
    with Image.open(path) as image:
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
    if orientation == 1:
        return []
    rule = "an image should lie upright in its file, because its EXIF orientation is not applied"
    remedy = "Unless the mask was drawn on the unturned image, turn the pixels (Pillow: ImageOps.exif_transpose)"
    return [Problem(path, rule, f"orientation {orientation}", remedy, warning=True)]


def _check_splits(image_set: ImageSet, pixel_counts: NDArray[np.int64], config: DatasetConfig) -> list[Problem]:
    """Choose dev as a search would with its default seed, and pass on what there is to say."""
    try:
        assignment = assign_splits(image_set, pixel_counts, config.dev_share, config.dev_seed)
    except InputError as error:
        return [_from_error(None, error)]
    return [_remark(text) for text in assignment.warnings]
