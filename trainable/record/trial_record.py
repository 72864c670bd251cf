"""A trial's own record, the truth that MLflow, Optuna and the leaderboard are projections of.

One folder a trial, `trials/<trial id>/`:

    config.json         what was suggested, written when it was
    attempts/0001.json  one a start: node, device, the epoch it continued from
    failures/0001.json  one a start that failed: why, and whether the trial is to blame or its machine was lost
    checkpoints/0003.pt the whole training state; written before its epoch record, the last two are kept. The last
                        epoch of a trial has none: nothing continues from it
    epochs/0003.json    one immutable record a durable epoch
    best/0003/...       weights, confusion matrix and per-image counts of the best epoch
    val/...             of a confirmation: what the best epoch's weights did on val; measured once
    end.json            the end marker: the reason and the whole history

An epoch is durable when its record exists; a durable epoch is never trained again.
"""

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, Final, TypeVar

from trainable.errors import InputError
from trainable.record.record_types import (
    EndMarker,
    EndReason,
    EpochRecord,
    FailureRecord,
    TrialSnapshot,
    TrialSpec,
    ValRecord,
    now_ms,
)
from trainable.record.storage import Storage
from trainable.redaction import redacted

logger = logging.getLogger(__name__)

_Record = TypeVar("_Record")


CONFUSION_MATRIX_FILE: Final = "confusion_matrix.csv"
PER_IMAGE_COUNTS_FILE: Final = "per_image_counts.npz"
WEIGHTS_FILE: Final = "weights.pt"
VAL_FILE: Final = "val/record.json"
VAL_COUNTS_FILE: Final = "val/counts.npz"
VAL_MATRIX_FILE: Final = "val/confusion_matrix.csv"

CONFIG_FILE: Final = "config.json"
_END_FILE: Final = "end.json"


class TrialRecord:
    """The record of one trial, to be read and written.

    Args:
        search: The folder of the search.
        trial_id: The trial's id.
    """

    def __init__(self, search: Storage, trial_id: str) -> None:
        self.trial_id = trial_id
        self.folder = search.child("trials", trial_id)

    def create(self, spec: TrialSpec) -> None:
        """Write what was suggested."""
        self.folder.write(CONFIG_FILE, _encode(asdict(spec)))

    def start_attempt(self, node: str, device: str, continued_from: int) -> int:
        """Record a start of the trial and return which attempt it is, from 1."""
        start = self._starts() + 1
        facts = {"node": node, "device": device, "continued_from": continued_from, "time_ms": now_ms()}
        self.folder.write(f"attempts/{start:04d}.json", _encode(facts))
        return self.attempts()

    def attempts(self) -> int:
        """How often the trial was started, without the starts whose machine was lost."""
        return self._starts() - sum(failure.start > 0 and not failure.counted for failure in self.failures())

    def add_failure(self, reason: str, counted: bool) -> FailureRecord:
        """Record that the latest start of the trial has failed.

        Args:
            reason: One line.
            counted: Whether it counts as an attempt.
        """
        before, start = self.failures(), self._starts()
        known = any(failure.start == start for failure in before)
        failure = FailureRecord(len(before) + 1, 0 if known else start, redacted(reason), counted, now_ms())
        self._write_failure(failure)
        return failure

    def excuse(self, failure: FailureRecord) -> None:
        """Record that a failure does not count as an attempt after all."""
        self._write_failure(replace(failure, counted=False))

    def failures(self) -> tuple[FailureRecord, ...]:
        """All failures of starts, the first first; a damaged record is named in the log and left out."""
        files = self.folder.read_many([f"failures/{name}" for name in self.folder.names("failures")])
        found = (_decode(FailureRecord, data, f"{self.folder.url}/{name}") for name, data in sorted(files.items()))
        return tuple(failure for failure in found if failure)

    def _write_failure(self, failure: FailureRecord) -> None:
        self.folder.write(f"failures/{failure.number:04d}.json", _encode(asdict(failure)))

    def _starts(self) -> int:
        return len(self.folder.names("attempts"))

    def append(self, record: EpochRecord) -> None:
        """Make an epoch durable; its checkpoint must have been written before.

        Raises:
            RuntimeError: It is durable already: another process, which was taken for dead, still trains this trial.
        """
        if not self.folder.create(_epoch_file(record.epoch), _encode(asdict(record))):
            raise RuntimeError(f"epoch {record.epoch} of {self.trial_id} was recorded by another process meanwhile")

    def epochs(self) -> tuple[EpochRecord, ...]:
        """All durable epochs from 1 on, without a gap; a damaged one is named in the log, and ends them."""
        return _contiguous(self.folder.read_many([f"epochs/{name}" for name in self.folder.names("epochs")]), self)

    def discard_after(self, epoch: int) -> None:
        """Delete the records after `epoch`: damaged, or behind a damaged one, they stand in the way of new ones."""
        for name in self.folder.names("epochs"):
            number = name.removesuffix(".json")
            if number.isdigit() and int(number) > epoch:
                self.folder.delete(f"epochs/{name}")

    def end(self, reason: EndReason, detail: str, history: Iterable[EpochRecord]) -> EndMarker:
        """Write the end marker."""
        marker = EndMarker(reason, redacted(detail), now_ms(), self.attempts(), tuple(history))
        self.folder.write(_END_FILE, _encode(asdict(marker)))
        return marker

    def add_val(self, val: ValRecord, files: Mapping[str, bytes]) -> None:
        """Make a measurement on val durable: its files first, then the record that promises them."""
        for name, data in files.items():
            self.folder.write(name, data)
        self.folder.write(VAL_FILE, _encode(asdict(val)))

    def val(self) -> ValRecord | None:
        """The measurement on val, or None where there is none yet."""
        return _decode(ValRecord, self.folder.read(VAL_FILE), f"{self.folder.url}/{VAL_FILE}")

    def best_file(self, epoch: int, name: str) -> str:
        """Where a file of the best epoch lies, relative to the trial's folder."""
        return f"best/{epoch:04d}/{name}"


def load_trials(search: Storage) -> list[TrialSnapshot]:
    """Every trial of a search, by number; a trial whose spec cannot be read is named in the log and left out.

    Args:
        search: The folder of the search.
    """
    ids = search.child("trials").names()
    files = search.read_many([f"trials/{i}/{name}" for i in ids for name in (CONFIG_FILE, _END_FILE)])
    found = (_load_trial(search, trial_id, files) for trial_id in ids)
    return sorted((trial for trial in found if trial), key=lambda trial: trial.spec.number)


def require_specs(search: Storage, known: Collection[str]) -> None:
    """Check that no trial is left out because its spec is damaged: its id would be given to another.

    Args:
        search: The folder of the search.
        known: Ids of the trials that could be loaded.

    Raises:
        InputError: A spec is damaged.
    """
    for trial_id in search.child("trials").names():
        spec = f"trials/{trial_id}/{CONFIG_FILE}"
        if trial_id not in known and search.read(spec) is not None:
            raise InputError(
                f"{search.url}/{spec} must say what {trial_id} is",
                "a damaged file",
                f"Put the artifact {CONFIG_FILE} of the run {trial_id} in MLflow in its place",
            )


def _load_trial(search: Storage, trial_id: str, files: Mapping[str, bytes]) -> TrialSnapshot | None:
    record = TrialRecord(search, trial_id)
    spec = _decode(TrialSpec, files.get(f"trials/{trial_id}/{CONFIG_FILE}"), f"{record.folder.url}/{CONFIG_FILE}")
    if spec is None:
        return None
    end = _decode(_end_marker, files.get(f"trials/{trial_id}/{_END_FILE}"), f"{record.folder.url}/{_END_FILE}")
    val = record.val() if spec.confirms else None
    if end is not None and end.reason == "completed" and spec.confirms and val is None:
        end = None  # its measurement is damaged: it is taken again from the best weights
    if end is not None:
        return TrialSnapshot(spec, end.history, end, end.attempts, val)
    return TrialSnapshot(spec, record.epochs(), None, record.attempts(), val)


def _epoch_file(epoch: int) -> str:
    return f"epochs/{epoch:04d}.json"


def _contiguous(files: Mapping[str, bytes], record: TrialRecord) -> tuple[EpochRecord, ...]:
    epochs: list[EpochRecord] = []
    for name in sorted(files, key=lambda name: (len(name), name)):  # 10000 after 9999
        epoch = _decode(EpochRecord, files[name], f"{record.folder.url}/{name}")
        if epoch is None:
            break
        if epoch.epoch != len(epochs) + 1:
            logger.warning("%s/%s does not follow epoch %d: left out", record.folder.url, name, len(epochs))
            break
        epochs.append(epoch)
    return tuple(epochs)


def _end_marker(*, history: list[dict[str, Any]], **values: Any) -> EndMarker:
    return EndMarker(history=tuple(EpochRecord(**epoch) for epoch in history), **values)


def _encode(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode()


def _decode(kind: Callable[..., _Record], data: bytes | None, name: str) -> _Record | None:
    """The record in a file; one that is not whole is named in the log, and treated as not written."""
    if data is None:
        return None
    try:
        return kind(**json.loads(data))
    except (ValueError, TypeError) as error:
        logger.warning("%s is no whole record (%s): treated as not written", name, error)
        return None
