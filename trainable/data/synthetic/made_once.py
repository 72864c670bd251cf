"""A synthetic set that a config names: made on first use, once for all processes of a node."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from trainable.data.dataset_config import DatasetConfig
from trainable.data.dataset_problem import Problem
from trainable.data.image_set import ImageSet
from trainable.data.layouts.aeroscapes import scan_aeroscapes
from trainable.data.synthetic.synthesize import GENERATOR_VERSION, synthesize


def read(
    config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None
) -> tuple[ImageSet | None, list[Problem]]:
    """Read the synthetic set of a config, which lies as AeroScapes does.

    Args:
        config: The `dataset` section.
        cache_dir: Where synthetic sets are kept.
        say: Not called: nothing is copied.

    Returns:
        The set, and what is wrong with it.
    """
    return scan_aeroscapes(_materialize(config, cache_dir))


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
