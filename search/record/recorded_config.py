"""A resume's config beside the one that the search was recorded with: what differs, and what the record decides."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from search.config.config_file import SEARCH_FILE
from search.config.search_config import SearchConfig, first_rung
from trainable.record.record_format import newer_record

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

_SPELLED_OUT: Final = "space"
"""A key that is left out there is not left open: its default is not searched."""


@dataclass(frozen=True)
class Difference:
    """A key that may not change, and has.

    Attributes:
        key: Dotted.
        before: As recorded; where the record has no such key, its default.
        now: As given.
        left_open: Whether `now` is but a default, which another version had otherwise.
    """

    key: str
    before: Any
    now: Any
    left_open: bool

    def __str__(self) -> str:
        return f"{self.key} was {self.before} and is {self.now}"


def differences(config: SearchConfig, recorded: Mapping[str, Any]) -> list[Difference]:
    """What differs between a config and the recorded one, of that which may not change.

    A key that the record does not have, because a later version added it, had its default.

    Args:
        config: Of a resume.
        recorded: The recorded config as plain values.

    Raises:
        NewerRecordError: The record has a key that this version does not know.
    """
    now = config.model_dump(mode="json")
    return list(_differences(config, _with_first_rung(now), _with_first_rung(recorded), ""))


def as_recorded(config: SearchConfig, kept: Mapping[str, Any]) -> SearchConfig:
    """The config with recorded values.

    Args:
        config: Of a resume.
        kept: By dotted key.
    """
    values = config.model_dump(mode="json")
    for key, value in kept.items():
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[name] = value
    # A dump has the tracking URI without its password.
    return SearchConfig.model_validate(values).model_copy(update={"tracking": config.tracking})


def _with_first_rung(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with the first rung as a number: one that is left open and one that is spelled out may be the same."""
    scheduler, budget = values.get("scheduler"), values.get("budget")
    if not (isinstance(scheduler, Mapping) and isinstance(budget, Mapping) and budget.get("max_epochs")):
        return values
    rung = first_rung(scheduler.get("grace_epochs"), budget["max_epochs"])
    return {**values, "scheduler": {**scheduler, "grace_epochs": rung}}


def _differences(model: Any, now: Any, before: Any, key: str, given: bool = True) -> Iterator[Difference]:
    if not (isinstance(now, Mapping) and isinstance(before, Mapping)):
        if now != before and not _may_change(key):
            yield Difference(key, before, now, left_open=not given and not key.startswith(_SPELLED_OUT))
        return
    for name in sorted({*now, *before}):
        inner = f"{key}.{name}" if key else name
        value, default, is_given = None, None, given
        if isinstance(model, BaseModel):
            _require_known(model, name, inner)
            value, default = getattr(model, name), _default(model, name)
            is_given = given and name in model.model_fields_set
        yield from _differences(value, now.get(name), before.get(name, default), inner, is_given)


def _may_change(key: str) -> bool:
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in _MAY_CHANGE)


def _require_known(model: BaseModel, name: str, key: str) -> None:
    if name not in type(model).model_fields:
        raise newer_record(f"the recorded {SEARCH_FILE}", f"the key {key}")


def _default(model: BaseModel, name: str) -> Any:
    """The default of a key as plain values, or None where it has none."""
    default = type(model).model_fields[name].get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return None
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else default
