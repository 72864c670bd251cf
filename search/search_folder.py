"""The folder of a search: what it is, and whether a new launch may continue it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import yaml

from search.config import SearchConfig, new_search_id
from trainable.errors import InputError
from trainable.storage import Storage
from trainable.trial_record import now_ms

CONFIG_FILE: Final = "search.yaml"
_META_FILE: Final = "search.json"

_MAY_CHANGE: Final = (
    "storage",
    "dataset.root",  # the data are recognised by their fingerprint, wherever they lie
    "dataset.description",
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
    """The identity of the search in `folder`, or None where there is no search."""
    data = folder.read(_META_FILE)
    return None if data is None else SearchMeta(**json.loads(data))


def require_startable(config: SearchConfig, folder: Storage, resume: bool) -> None:
    """Check that this config may be launched into its folder, before anything expensive happens.

    Raises:
        InputError: The folder holds a search and this is no resume, or holds none and this is one, or the config
            differs in what may not change.
    """
    trials = len(folder.child("trials").names())
    # A launch that failed before its first trial leaves nothing to resume.
    exists = read_meta(folder) is not None and trials > 0
    if exists and not resume:
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
    if exists:
        _require_same(config, folder)


def write_search(config: SearchConfig, folder: Storage, fingerprint: str) -> SearchMeta:
    """Write the resolved config, and the identity where this is the first launch.

    Raises:
        InputError: The data are not those of the earlier launches.
    """
    meta = read_meta(folder)
    if meta is None:
        meta = SearchMeta(new_search_id(), config.name, fingerprint, now_ms())
        folder.write(_META_FILE, json.dumps(asdict(meta)).encode())
    else:
        require_same_data(meta, fingerprint)
    folder.write(CONFIG_FILE, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    return meta


def require_same_data(meta: SearchMeta, fingerprint: str) -> None:
    """Check that the data are those of the earlier launches.

    Raises:
        InputError: They are not.
    """
    if meta.data_fingerprint != fingerprint:
        raise InputError(
            f"a resumed search needs the data it began with (fingerprint {meta.data_fingerprint})",
            f"fingerprint {fingerprint}",
            "Put the files back as they were, or start a new search under another name",
        )


def _require_same(config: SearchConfig, folder: Storage) -> None:
    before = yaml.safe_load(folder.read(CONFIG_FILE) or b"{}")
    differences = list(_differences(before, config.model_dump(mode="json")))
    if differences:
        raise InputError(
            "a resume may change budget.trials, budget.hours, resources, tracking, confirm and where the data lie, "
            "nothing else",
            "; ".join(differences),
            "Undo these changes, or start a new search under another name",
        )


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if any(key == allowed or key.startswith(f"{allowed}.") for allowed in _MAY_CHANGE):
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield f"{key} was {before} and is {now}"
