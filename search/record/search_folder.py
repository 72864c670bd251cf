"""The folder of a search: what it is, and whether a new launch may continue it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from search.config.config_file import SEARCH_FILE
from search.config.config_yaml import dump_yaml
from search.config.search_config import SearchConfig, new_search_id
from search.record.recorded_config import as_recorded, differences
from trainable.data.data_identity import DataIdentity, require_same_data
from trainable.errors import InputError
from trainable.record.record_format import NewerRecordError, encode, require_fields, understood
from trainable.record.record_types import now_ms
from trainable.record.storage import Storage

_META_FILE: Final = "search.json"


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
        InputError: It is damaged, or a newer version wrote it.
    """
    data = folder.read(_META_FILE)
    if data is None:
        return None
    try:
        values = understood(json.loads(data), f"{folder.url}/{_META_FILE}")
        require_fields(SearchMeta, values, f"{folder.url}/{_META_FILE}")
        return SearchMeta(**values)
    except NewerRecordError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{folder.url}/{_META_FILE} must say which search this is",
            f"a damaged file ({error})",
            "Write it anew: search_id is the tag aerosweep.search_id of the search's runs in MLflow, data_fingerprint "
            "the tag aerosweep.data_fingerprint, name and created_ms (milliseconds since 1970) as you remember them",
        ) from error


def startable(config: SearchConfig, folder: Storage, resume: bool, say: Callable[[str], None]) -> SearchConfig:
    """Check that this config may be launched into its folder, before anything expensive happens.

    Args:
        config: Of the launch.
        folder: Of the search.
        resume: Whether the search is to be there.
        say: Prints a line for the user.

    Returns:
        The config; what it leaves open is as recorded where a default was another one then.

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
    return _continued(config, folder, say) if exists and resume else config


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
    else:
        require_same_data(folder, meta.data_fingerprint, data)
    folder.write(_META_FILE, encode(meta))  # also in an older search: from here on its records are of this format
    folder.write(SEARCH_FILE, dump_yaml(config.model_dump(mode="json")).encode())
    return meta


def _continued(config: SearchConfig, folder: Storage, say: Callable[[str], None]) -> SearchConfig:
    found = differences(config, _recorded_config(folder))
    changed = [str(difference) for difference in found if not difference.left_open]
    if changed:
        raise InputError(
            "a resume may change budget.trials, budget.hours, resources, tracking, confirm, space.model.exclude and "
            "where the data lie, nothing else",
            "; ".join(changed),
            "Undo these changes, or start a new search under another name",
        )
    for difference in found:
        default = f"a new search would have {difference.now}"
        say(f"note: {difference.key} stays {difference.before}, as the search began ({default})")
    return as_recorded(config, {each.key: each.before for each in found}) if found else config


def _recorded_config(folder: Storage) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(folder.read(SEARCH_FILE) or b"{}")
        found = f"a list or a scalar ({type(values).__name__})"
    except yaml.YAMLError as error:
        values, found = None, " ".join(str(error).split())
    if not isinstance(values, Mapping):
        raise InputError(
            f"{folder.url}/{SEARCH_FILE} must be the config that the search began with",
            found,
            "Put a copy of your config there: the file is damaged",
        )
    return values
