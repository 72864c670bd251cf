"""The image set that a config names, whatever its layout."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import cast

from filelock import FileLock

from trainable.aeroscapes import scan_aeroscapes
from trainable.dataset_config import DatasetConfig
from trainable.dataset_problem import Problem, refuse_any
from trainable.described import scan_described
from trainable.description import scan_description
from trainable.errors import InputError
from trainable.image_set import ImageSet
from trainable.synthetic import GENERATOR_VERSION, synthesize


def read_image_set(config: DatasetConfig, cache_dir: Path) -> ImageSet:
    """Read the image set of a config; a synthetic one is made on first use.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets are kept.

    Returns:
        The set; nothing is decoded.

    Raises:
        InputError: When it cannot be read as configured.
    """
    image_set, problems = scan_image_set(config, cache_dir)
    refuse_any(problems)
    return cast(ImageSet, image_set)  # there is one when there is no problem


def scan_image_set(config: DatasetConfig, cache_dir: Path) -> tuple[ImageSet | None, list[Problem]]:
    """Read as much of the image set of a config as can be read, and say all that is wrong with it.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets are kept.

    Returns:
        The set, None where even its description is wrong, and the problems.
    """
    if config.layout == "synthetic":
        return scan_aeroscapes(_materialize(config, cache_dir))
    if config.layout == "aeroscapes":
        return scan_aeroscapes(_given(config.root, "root"))
    path = _given(config.description, "description")
    description, problems = scan_description(path)
    return scan_described(description, path, config.root) if description else (None, problems)


def _given(path: Path | None, key: str) -> Path:
    """The path, which the config's own rules require; `model_copy` and `model_construct` do not check them."""
    if path is None:
        raise InputError(f"dataset.{key} must be given", "none", f"Set dataset.{key}")
    return path


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
