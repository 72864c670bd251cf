"""The records' JSON: each carries the number of its format, so that no version takes another's record for damaged.

A record of an older format is read; one of a newer format is refused, and so is one with fields that this version does
not know: whoever passed over it would train again what is durable.

Format 1 has no number. Format 2 has one, and says which start of a trial wrote the files of an epoch.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Final, TypeVar

from trainable.errors import SearchFaultError

FORMAT: Final = 2
_KEY: Final = "format"

logger = logging.getLogger(__name__)

Record = TypeVar("Record")


class NewerRecordError(SearchFaultError):
    """A record that a newer version wrote: nothing of it is read, deleted or written over."""

    exit_code: ClassVar[int] = 2


def newer_record(name: str, found: str) -> NewerRecordError:
    """The error for a record of a newer version.

    Args:
        name: Of the file.
        found: What shows that its version is newer.
    """
    return NewerRecordError(
        f"{name} must be of a format that this version of aerosweep knows",
        found,
        "Use the version of aerosweep that wrote it, or a later one; nothing was changed",
    )


def encode(record: Any) -> bytes:
    """A record, or a mapping, as JSON with the format's number.

    Args:
        record: A dataclass or a mapping of plain values.

    Raises:
        ValueError: It holds NaN or infinity, which JSON does not have.
    """
    values = record if isinstance(record, Mapping) else asdict(record)
    return json.dumps({_KEY: FORMAT, **values}, allow_nan=False).encode()


def decode_record(kind: Callable[..., Record], data: bytes | None, name: str) -> Record | None:
    """The record in a file, or None where there is none or it is damaged, which is said in the log.

    Args:
        kind: The dataclass.
        data: The file's content, or None.
        name: Of the file, for a message.

    Raises:
        NewerRecordError: A newer version wrote it.
    """
    return decode(lambda values: _build(kind, values, name), data, name)


def decode(build: Callable[[dict[str, Any]], Record], data: bytes | None, name: str) -> Record | None:
    """As `decode_record`, for a record that is more than a flat dataclass.

    Args:
        build: Makes the record of the values; where it raises TypeError, ValueError, KeyError or AttributeError, the
            file is damaged.
        data: As for `decode_record`.
        name: As for `decode_record`.

    Raises:
        NewerRecordError: A newer version wrote it.
    """
    if data is None:
        return None
    try:
        return build(understood(json.loads(data), name))
    except NewerRecordError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        logger.warning("%s is no whole record (%s): treated as not written", name, error)
        return None


def understood(values: Any, name: str) -> dict[str, Any]:
    """The values of a record without the format's number.

    Raises:
        NewerRecordError: The number is a later one.
        TypeError: It is no record at all.
    """
    if not isinstance(values, dict):
        raise TypeError("not a JSON object")
    number = values.get(_KEY, 1)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"its format is {number!r}")
    if number > FORMAT:
        raise newer_record(name, f"format {number}, and {FORMAT} is the latest known")
    return {key: value for key, value in values.items() if key != _KEY}


def require_fields(kind: Any, values: Mapping[str, Any], name: str) -> None:
    """Check that this version knows all of a record's fields.

    Raises:
        NewerRecordError: It does not.
    """
    unknown = sorted(values.keys() - {field.name for field in fields(kind)})
    if unknown:
        raise newer_record(name, f"unknown fields: {', '.join(unknown)}")


def _build(kind: Callable[..., Record], values: dict[str, Any], name: str) -> Record:
    require_fields(kind, values, name)
    return kind(**values)
