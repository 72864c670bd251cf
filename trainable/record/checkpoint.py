"""Checkpoints: the training state as bytes, never unpickled, named by epoch, the last two kept."""

import io
import pickle
import zipfile
from collections.abc import Callable
from typing import Any, Final

import torch

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

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after `epoch`."""
        self._folder.write(_name(epoch), to_bytes({"format": _FORMAT, "epoch": epoch, "state": state}))

    def load_newest(self, up_to: int, refuse: Callable[[str], None]) -> tuple[int, dict[str, Any]] | None:
        """The newest whole checkpoint of epoch `up_to` or earlier; damaged ones are passed over.

        Args:
            up_to: The last durable epoch: a checkpoint beyond it has no record and does not count.
            refuse: Called with the name of each damaged one and what is wrong with it.

        Returns:
            The epoch and the state, or None where there is none.
        """
        for epoch in sorted(self._epochs(), reverse=True):
            if epoch > up_to:
                continue
            loaded = self._load(epoch, refuse)
            if loaded is not None:
                return epoch, loaded
        return None

    def prune(self, newest: int) -> None:
        """Delete all but those of epoch `newest` and of the one before it.

        What lies beyond `newest` is damaged, or of epochs without a record: they are trained again.
        """
        epochs = self._epochs()
        kept = [epoch for epoch in epochs if epoch <= newest][-_KEPT:]
        for epoch in epochs:
            if epoch not in kept:
                self._folder.delete(_name(epoch))

    def clear(self) -> None:
        """Delete all: the trial has ended and nothing continues from here."""
        for epoch in self._epochs():
            self._folder.delete(_name(epoch))

    def _epochs(self) -> list[int]:
        stems = (name.removesuffix(".pt") for name in self._folder.names("checkpoints"))
        return sorted(int(stem) for stem in stems if stem.isdigit())

    def _load(self, epoch: int, refuse: Callable[[str], None]) -> dict[str, Any] | None:
        data = self._folder.read(_name(epoch))
        if data is None:
            return None
        try:
            return _state(from_bytes(data), epoch)
        except Exception as error:  # whatever a damaged file makes the reader raise
            refuse(f"checkpoint {self._folder.url}/{_name(epoch)} is damaged and passed over: {error}")
            return None


def _state(content: dict[str, Any], epoch: int) -> dict[str, Any]:
    if content["format"] != _FORMAT or content["epoch"] != epoch:
        raise ValueError(f"it holds format {content['format']}, epoch {content['epoch']}")
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


def _name(epoch: int) -> str:
    return f"checkpoints/{epoch:04d}.pt"
