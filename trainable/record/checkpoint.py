"""Checkpoints: the training state as bytes, never unpickled, named by epoch and start, the last two kept."""

import io
import pickle
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from trainable.record.file_names import epoch_of, files_name, files_of
from trainable.record.record_format import NewerRecordError, newer_record
from trainable.record.record_types import EpochRecord
from trainable.record.storage import Storage

_FORMAT: Final = 1
_KEPT: Final = 2
"""The newest, and the one before: should the newest turn out damaged, one epoch is trained again and not all."""


class Checkpoints:
    """The checkpoints of one trial.

    Args:
        folder: The trial's folder.
    """

    def __init__(self, folder: Storage) -> None:
        self._folder = folder

    def save(self, epoch: int, start: int, state: dict[str, Any]) -> None:
        """Write the state after `epoch`, which the start `start` has trained."""
        self._folder.write(_name(epoch, start), to_bytes({"format": _FORMAT, "epoch": epoch, "state": state}))

    def load_newest(
        self, durable: Sequence[EpochRecord], refuse: Callable[[str], None]
    ) -> tuple[int, dict[str, Any]] | None:
        """The newest whole checkpoint that a durable epoch promises; damaged ones are passed over.

        Args:
            durable: The durable epochs: a checkpoint of another start than their record's does not count.
            refuse: Called with the name of each damaged one and what is wrong with it.

        Returns:
            The epoch and the state, or None where there is none.

        Raises:
            NewerRecordError: A newer version wrote one.
        """
        present = set(self._names())
        for record in reversed(durable):
            loaded = self._load(record, refuse) if files_of(record) in present else None
            if loaded is not None:
                return record.epoch, loaded
        return None

    def prune(self, durable: Sequence[EpochRecord], newest: int) -> None:
        """Delete all but those of epoch `newest` and of the one before it.

        Those of later durable epochs are damaged: they are trained again. Those beyond stay: another start may be
        writing their record.

        Args:
            durable: The durable epochs.
            newest: The last whose state is whole.
        """
        promised = [files_of(record) for record in durable[:newest]]
        present = self._names()
        kept = [name for name in promised if name in present][-_KEPT:]
        for name in present:
            if epoch_of(name) <= len(durable) and name not in kept:
                self._folder.delete(_path(name))

    def clear(self) -> None:
        """Delete all: the trial has ended and nothing continues from here."""
        for name in self._names():
            self._folder.delete(_path(name))

    def _names(self) -> list[str]:
        """What names their epochs and starts."""
        stems = (name.removesuffix(".pt") for name in self._folder.names("checkpoints"))
        return [stem for stem in stems if epoch_of(stem)]

    def _load(self, record: EpochRecord, refuse: Callable[[str], None]) -> dict[str, Any] | None:
        path = _path(files_of(record))
        data = self._folder.read(path)
        if data is None:
            return None
        try:
            return _state(from_bytes(data), record.epoch, f"{self._folder.url}/{path}")
        except NewerRecordError:
            raise
        except Exception as error:  # whatever a damaged file makes the reader raise
            refuse(f"checkpoint {self._folder.url}/{path} is damaged and passed over: {error}")
            return None


def _state(content: dict[str, Any], epoch: int, name: str) -> dict[str, Any]:
    number = content["format"]
    if number > _FORMAT:
        raise newer_record(name, f"format {number}, and {_FORMAT} is the latest known")
    if number != _FORMAT or content["epoch"] != epoch:
        raise ValueError(f"it holds format {number}, epoch {content['epoch']}")
    state: dict[str, Any] = content["state"]
    return state


def to_bytes(values: dict[str, Any]) -> bytes:
    """Tensors and plain values as torch's file format."""
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes) -> dict[str, Any]:
    """Read what `to_bytes` wrote, onto the CPU; a pickle that holds anything but weights is refused, not executed.

    Raises:
        pickle.UnpicklingError: It holds something else.
        zipfile.BadZipFile: It is damaged.
    """
    # torch writes checksums but does not look at them: without this, flipped bits are taken for weights.
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
    try:
        values: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message goes on to say how to execute it.
        raise pickle.UnpicklingError("it holds something else than weights and plain values") from error
    return values


def _name(epoch: int, start: int) -> str:
    return _path(files_name(epoch, start))


def _path(name: str) -> str:
    return f"checkpoints/{name}.pt"
