"""The image set that a `data` command is about."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from search.config.config_check import located, validate
from search.config.config_file import read_config
from search.config.config_yaml import ConfigDocument
from search.config.search_config import SearchConfig
from search.config.train_config import TrainConfig
from trainable.config.config_problem import raise_all, unknown_key
from trainable.config.section import Section
from trainable.data.dataset_config import DatasetConfig
from trainable.data.files.cache_dir import default_cache_dir
from trainable.errors import InputError


class DataSource(NamedTuple):
    """What the `data` commands read of a config.

    Attributes:
        dataset: With absolute paths.
        cache_dir: Where decoded images are kept.
    """

    dataset: DatasetConfig
    cache_dir: Path


class _DataSourceConfig(Section):
    dataset: DatasetConfig
    cache_dir: Path | None = None


def load_data_source(path: Path | None, overrides: Sequence[str]) -> DataSource:
    """Read the image set of a search or train config, whatever the rest of it is worth.

    Args:
        path: The YAML file, or None where `overrides` say it all.
        overrides: As for `load_search_config`.

    Raises:
        InputError: What is wrong with it, one line each.
    """
    document = read_config(path, overrides, None)
    raise_all(located(list(_unknown_at_top(document)), document))
    values = document.values
    resources = values.get("resources")
    cache_dir = resources.get("cache_dir") if isinstance(resources, dict) else None
    wanted = {"dataset": values.get("dataset", {}), "cache_dir": cache_dir}
    if "dataset" not in values:
        del wanted["dataset"]
    config = validate(_DataSourceConfig, document.replaced(wanted))
    folder = config.cache_dir.expanduser().absolute() if config.cache_dir else default_cache_dir()
    return DataSource(config.dataset.absolute(), folder)


def describe_source(description: Path, root: Path | str | None) -> DataSource:
    """The image set of a data-set YAML, without a config.

    Args:
        description: The YAML.
        root: Where the images are, if not where it says: a path or a URL.

    Raises:
        InputError: The root is a URL that holds a password.
    """
    given = {"layout": "described", "description": description, "root": root}
    document = ConfigDocument({"dataset": given}, {"dataset.root": f"--root {root}"}, None)
    return DataSource(validate(_DataSourceConfig, document).dataset.absolute(), default_cache_dir())


def source_of_file(file: Path, root: Path | str | None) -> DataSource:
    """The image set of a data-set YAML, or of a search or train config.

    Args:
        file: Either; a config has a `dataset`.
        root: Where the images are, if not where the file says: a path or a URL.

    Raises:
        InputError: What is wrong with it, one line each.
    """
    if "dataset" not in read_config(file, [], None).values:
        return describe_source(file, root)
    return load_data_source(file, [] if root is None else [f"dataset.root={json.dumps(str(root))}"])


def synthetic_source(images: int, size: str, seed: int, scenes: int | None, imbalance: float) -> DataSource:
    """A synthetic image set, as the options of `data synthesize` describe it.

    Raises:
        InputError: An option is out of range.
    """
    given = {"images": images, "size": size, "seed": seed, "scenes": scenes, "imbalance": imbalance}
    sources = {f"dataset.{key}": f"--{key} {value}" for key, value in given.items()}
    document = ConfigDocument({"dataset": {"layout": "synthetic", **given}}, sources, None)
    return DataSource(validate(_DataSourceConfig, document).dataset, default_cache_dir())


def _unknown_at_top(document: ConfigDocument) -> Iterator[InputError]:
    known = list(dict.fromkeys([*SearchConfig.model_fields, *TrainConfig.model_fields]))
    for key, value in document.values.items():
        if key not in known:
            yield unknown_key(str(key), value, known)
