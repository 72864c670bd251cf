"""What a search takes along to a cluster: its config, without what only this machine has, and modules of one's own."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from search.config.config_check import located, validate
from search.config.config_file import SEARCH_FILE, inlined, read_config
from search.config.config_yaml import dump_yaml
from search.config.search_config import SearchConfig
from search.space.space import Fixed, Space, values_of
from trainable.config.config_problem import raise_all, show
from trainable.config.user_class import is_reference
from trainable.data.files.folder_url import is_url
from trainable.errors import InputError
from trainable.redaction import redacted

_MOST_BYTES: Final = 5 * 2**20
_WEIGHTS_KEY: Final = "model.encoder_weights"
_OURS: Final = ("aerosweep", "analysis", "search", "trainable")
"""Installed on the cluster, where a copy would hide them."""
_NOT_SENT: Final = shutil.ignore_patterns("__pycache__", ".*")


def load_for_cluster(path: Path, overrides: Sequence[str], output: str | None) -> SearchConfig:
    """Read the config of a search that is to run on another machine.

    Args:
        path: The YAML file.
        overrides: `key=value`, as `load_search_config` takes them.
        output: The folder of all searches.

    Returns:
        The config, with a data-set YAML read into it and its paths as they were given.

    Raises:
        InputError: Everything that is wrong with it, one line each; also paths that only this machine would have.
    """
    document = read_config(path, overrides, output)
    config = inlined(validate(SearchConfig, document))
    raise_all(located(_problems_elsewhere(config), document))
    _check_names(config)
    return config


def write_job_folder(config: SearchConfig, folder: Path, here: Path) -> list[str]:
    """Fill the folder that is sent to the cluster.

    Args:
        config: Of `load_for_cluster`.
        folder: Empty.
        here: Modules of the user's own that lie in or below this folder are sent; others must be installed there.

    Returns:
        The names of what it holds.

    Raises:
        InputError: The modules are too large to be code.
    """
    (folder / SEARCH_FILE).write_text(dump_yaml(config.model_dump(mode="json")), encoding="utf-8")
    for source in own_modules(config, here):
        if source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=_NOT_SENT)
        else:
            shutil.copy(source, folder)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if size > _MOST_BYTES:
            rule = f"the modules of one's own must be code, {_MOST_BYTES / 2**20:.0f} MiB at the most"
            remedy = "Give the class a package of its own, or install the package on every node"
            raise InputError(rule, f"{size / 2**20:.0f} MiB with {source}", remedy)
    return sorted(file.name for file in folder.iterdir())


def own_modules(config: SearchConfig, here: Path) -> list[Path]:
    """The modules and packages in or below a folder that the config names as `package.module:Class`."""
    names = {reference.partition(":")[0].partition(".")[0] for reference in _references(config)}
    return [source for name in sorted(names.difference(_OURS)) if (source := _source(name, here)) is not None]


def _source(name: str, here: Path) -> Path | None:
    """The file or the folder of a top-level module; None where it is installed, or elsewhere."""
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    place = places[0] if places else spec.origin if spec else None
    if place is None:  # a module that is built in
        return None
    found = Path(place).resolve()
    installed = found.is_relative_to(sys.prefix) or "site-packages" in found.parts
    return found if found.is_relative_to(here.resolve()) and not installed else None


def _references(config: SearchConfig) -> Iterator[str]:
    """Each `package.module:Class` of the space and the baselines."""
    places: list[Any] = [config.space.model_dump(), config.baselines]
    while places:
        place = places.pop()
        if isinstance(place, str) and is_reference(place):
            yield place
        elif isinstance(place, Mapping):
            places += place.values()
        elif isinstance(place, list | tuple):
            places += place


def _check_names(config: SearchConfig) -> None:
    """Check what the search itself checks first, but for files of weights: they are where the trials run."""
    from search.run.preflight.search_checks import check_names

    domains = config.parsed_space.domains
    anywhere = {key: Fixed("none") if key == _WEIGHTS_KEY else domain for key, domain in domains.items()}
    check_names(Space(anywhere, config.parsed_space.excluded))


def _problems_elsewhere(config: SearchConfig) -> list[InputError]:
    """Paths that mean something on this machine alone, and a password that a config does not carry."""
    given = [("storage", config.storage), ("dataset.root", config.dataset.root), *_root_of_description(config)]
    given += [(f"space.{_WEIGHTS_KEY}", value) for value in _weights(config)]
    problems = [_shared_problem(key, value) for key, value in given if value is not None]
    cache_dir = config.resources.cache_dir
    if cache_dir is not None and not cache_dir.expanduser().is_absolute():
        rule = "resources.cache_dir must be an absolute path: it is one of each node of the cluster"
        problems.append(InputError(rule, cache_dir, "Write for example /mnt/aerosweep-cache, or leave it out"))
    problems.append(_tracking_problem(config.tracking.uri))
    return [problem for problem in problems if problem is not None]


def _root_of_description(config: SearchConfig) -> list[tuple[str, Any]]:
    description = config.dataset.description
    if description is None or isinstance(description, Path) or config.dataset.root is not None:
        return []
    return [("dataset.root", description.root)]


def _weights(config: SearchConfig) -> list[str]:
    domain = config.parsed_space.domains.get(_WEIGHTS_KEY, Fixed("none"))
    return [str(value) for value in values_of(domain) if value not in ("none", "imagenet")]


def _shared_problem(key: str, value: object) -> InputError | None:
    if is_url(value) or Path(str(value)).is_absolute():
        return None
    what, remedy = _SHARED.get(key, _SHARED_WEIGHTS)
    return InputError(f"{key} must be {what} that all nodes of the cluster share", show(str(value)), remedy)


_SHARED: Final = {
    "storage": ("a URL or an absolute path", "Give for example s3://bucket/searches, or /mnt/shared/searches"),
    "dataset.root": (
        "a URL or an absolute path",
        "Copy the images there and give for example s3://bucket/images, or /mnt/shared/images",
    ),
}
_SHARED_WEIGHTS: Final = ("imagenet, none or an absolute path", "Give for example /mnt/shared/weights.pt")


def _tracking_problem(uri: str | None) -> InputError | None:
    if uri is not None and redacted(uri) != uri:
        return InputError(
            "tracking.uri must hold no password where a search goes to a cluster: all of its users would see it",
            redacted(uri),
            "Leave tracking.uri out: the head's MLFLOW_TRACKING_URI counts, with its MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD",
        )
    scheme, separator, path = (uri or "").partition(":///")
    if separator and scheme.startswith("sqlite") and not path.startswith("/"):
        rule = "tracking.uri must be a server, or an absolute path that the head has"
        return InputError(rule, uri, "Leave it out where the head has a tracking server, or write sqlite:////path")
    return None
