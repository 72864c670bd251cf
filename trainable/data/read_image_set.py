"""The image set that a config names, whatever its layout."""

import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

from trainable.data.dataset_config import DatasetConfig
from trainable.data.dataset_problem import Problem, refuse_any
from trainable.data.image_set import ImageSet
from trainable.data.layout_registry import LAYOUTS

Reader = Callable[[DatasetConfig, Path, Callable[[str], None] | None], tuple[ImageSet | None, list[Problem]]]
"""What reads the sets of a layout: it takes and returns what `scan_image_set` does."""


def read_image_set(config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None = None) -> ImageSet:
    """Read the image set of a config; a synthetic one is made on first use, one that lies elsewhere copied.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets and copies are kept.
        say: Prints a line for the user when something is copied.

    Returns:
        The set; nothing is decoded.

    Raises:
        InputError: When it cannot be read as configured.
    """
    image_set, problems = scan_image_set(config, cache_dir, say)
    refuse_any(problems)
    return cast(ImageSet, image_set)  # there is one when there is no problem


def scan_image_set(
    config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None = None
) -> tuple[ImageSet | None, list[Problem]]:
    """Read as much of the image set of a config as can be read, and say all that is wrong with it.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets and copies are kept.
        say: Prints a line for the user when something is copied.

    Returns:
        The set, None where even its description is wrong, and the problems.

    Raises:
        InputError: The set lies elsewhere and cannot be copied.
    """
    read: Reader = pkgutil.resolve_name(LAYOUTS[config.layout].reader)
    return read(config, cache_dir, say)
