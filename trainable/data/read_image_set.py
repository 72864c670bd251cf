"""The image set that a config names, whatever its layout."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from filelock import FileLock

from trainable.data.dataset_config import DatasetConfig
from trainable.data.dataset_problem import Problem, refuse_any
from trainable.data.files.remote_folder import local_folder
from trainable.data.image_set import ImageSet
from trainable.data.layouts.aeroscapes import AEROSCAPES_FILES, scan_aeroscapes
from trainable.data.layouts.dataset_yaml import Description, scan_description
from trainable.data.layouts.described_layout import files_of, scan_described
from trainable.data.synthetic.synthesize import GENERATOR_VERSION, synthesize
from trainable.errors import InputError


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
    if config.layout == "synthetic":
        return scan_aeroscapes(_materialize(config, cache_dir))
    if config.layout == "aeroscapes":
        return _scan_aeroscapes(config, cache_dir, say)
    return _scan_described(config, cache_dir, say)


def _scan_aeroscapes(
    config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None
) -> tuple[ImageSet, list[Problem]]:
    if config.root is None:
        raise _not_given("root")
    folder = local_folder(config.root, AEROSCAPES_FILES, cache_dir, say)
    image_set, problems = scan_aeroscapes(folder)
    return image_set, _located(problems, folder, config.root)


def _scan_described(
    config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None
) -> tuple[ImageSet | None, list[Problem]]:
    given = config.description
    if given is None:
        raise _not_given("description")
    description, problems = (given, []) if isinstance(given, Description) else scan_description(given)
    if description is None:
        return None, problems
    root = config.root or description.root
    folder = local_folder(root, files_of(description), cache_dir, say)
    image_set, problems = scan_described(description, folder, given if isinstance(given, Path) else None)
    return image_set, _located(problems, folder, root)


def _not_given(key: str) -> InputError:
    """The config's own rules require it; `model_copy` and `model_construct` do not check them."""
    return InputError(f"dataset.{key} must be given", "none", f"Set dataset.{key}")


def _located(problems: Sequence[Problem], folder: Path, root: Path | str) -> list[Problem]:
    """The problems with the places where the user can mend them: of a copy, in its original."""
    if isinstance(root, Path):
        return list(problems)
    return [
        replace(problem, file=None, value=f"{root.rstrip('/')}/{problem.file.relative_to(folder)}: {problem.value}")
        if problem.file is not None and problem.file.is_relative_to(folder)
        else problem
        for problem in problems
    ]


def _materialize(config: DatasetConfig, cache_dir: Path) -> Path:
    """Make a synthetic set once for all processes of the node: under a lock, and renamed when it is whole."""
    keys = ("images", "size", "seed", "scenes", "imbalance")
    recipe = {key: getattr(config, key) for key in keys} | {"version": GENERATOR_VERSION}
    key = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_dir / f"synthetic-{key}"
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / f"synthetic-{key}.lock"):
        if not folder.is_dir():
            # Not a temporary folder, which would be closed to all others of the node for ever. The name is always the
            # same, so that what a killed process left is not left for ever; the lock keeps others out.
            unfinished = folder.with_name(f"{folder.name}.building")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                synthesize(
                    unfinished,
                    config.images or 0,
                    config.height_width,
                    config.seed or 0,
                    scenes=config.scenes,
                    imbalance=config.imbalance or 1.0,
                )
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder
