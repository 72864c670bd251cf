"""The folder of a search: what it is, and whether a new launch may continue it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from search.config.config_file import SEARCH_FILE
from search.config.config_yaml import dump_yaml
from search.config.search_config import SearchConfig, new_search_id
from trainable.data.data_identity import DataIdentity, require_same_data
from trainable.errors import InputError
from trainable.record.record_types import now_ms
from trainable.record.storage import Storage

_META_FILE: Final = "search.json"

_MAY_CHANGE: Final = (
    "storage",
    "dataset.root",  # the data are recognised by their fingerprint, wherever they lie
    "dataset.description",
    "space.model.exclude",  # what has been trained stays as it is
    "budget.trials",
    "budget.hours",
    "confirm",
    "report",
    "resources",
    "runtime.epoch_timeout_minutes",
    "runtime.max_attempts",
    "tracking",
)
"""What a resume may set anew; everything else would make its trials incomparable with those before."""


@dataclass(frozen=True)
class SearchMeta:
    """What identifies a search.

    Attributes:
        search_id: Unique for ever.
        name: As in its config.
        data_fingerprint: Of the images and masks it learns from.
        created_ms: Milliseconds since 1970.
    """

    search_id: str
    name: str
    data_fingerprint: str
    created_ms: int


def read_meta(folder: Storage) -> SearchMeta | None:
    """The identity of the search in `folder`, or None where there is no search.

    Raises:
        InputError: It is damaged.
    """
    data = folder.read(_META_FILE)
    if data is None:
        return None
    try:
        return SearchMeta(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{folder.url}/{_META_FILE} must say which search this is",
            f"a damaged file ({error})",
            "Write it anew: search_id is the tag aerosweep.search_id of the search's runs in MLflow, data_fingerprint "
            "the tag aerosweep.data_fingerprint, name and created_ms (milliseconds since 1970) as you remember them",
        ) from error


def require_startable(config: SearchConfig, folder: Storage, resume: bool) -> None:
    """Check that this config may be launched into its folder, before anything expensive happens.

    Raises:
        InputError: The folder holds a search and this is no resume, or holds none and this is one, or the config
            differs in what may not change.
    """
    trials = len(folder.child("trials").names())
    exists = read_meta(folder) is not None
    # A launch that ended before its first trial may be followed by another, or resumed.
    if exists and trials and not resume:
        raise InputError(
            f"a new search needs a folder of its own ({folder.url})",
            f"a search of {trials} trials there",
            "Continue it with --resume, or choose another name or --output",
        )
    if resume and not exists:
        raise InputError(
            f"--resume needs a search in {folder.url}",
            "none there",
            "Start it without --resume, or mend name or --output",
        )
    if exists and resume:
        _require_same(config, folder)


def write_search(config: SearchConfig, folder: Storage, data: DataIdentity) -> SearchMeta:
    """Write the resolved config, and the identities of search and data where this is the first launch.

    Raises:
        DataChangedError: The data are not those of the earlier launches.
    """
    meta = read_meta(folder)
    if meta is None or not folder.child("trials").names():
        # Nothing is of the data of a launch that ended before its first trial: they may have been mended since.
        data.write(folder)
        meta = SearchMeta(new_search_id(), config.name, data.fingerprint, now_ms())
        folder.write(_META_FILE, json.dumps(asdict(meta)).encode())
    else:
        require_same_data(folder, meta.data_fingerprint, data)
    folder.write(SEARCH_FILE, dump_yaml(config.model_dump(mode="json")).encode())
    return meta


def _require_same(config: SearchConfig, folder: Storage) -> None:
    differences = list(_differences(_recorded_config(folder), config.model_dump(mode="json")))
    if differences:
        raise InputError(
            "a resume may change budget.trials, budget.hours, resources, tracking, confirm, space.model.exclude and "
            "where the data lie, nothing else",
            "; ".join(differences),
            "Undo these changes, or start a new search under another name",
        )


def _recorded_config(folder: Storage) -> Any:
    try:
        return yaml.safe_load(folder.read(SEARCH_FILE) or b"{}")
    except yaml.YAMLError as error:
        raise InputError(
            f"{folder.url}/{SEARCH_FILE} must be the config that the search began with",
            " ".join(str(error).split()),
            "Put a copy of your config there: the file is damaged",
        ) from error


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if any(key == allowed or key.startswith(f"{allowed}.") for allowed in _MAY_CHANGE):
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield f"{key} was {before} and is {now}"
