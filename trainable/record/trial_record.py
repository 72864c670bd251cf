"""A trial's own record, the truth that MLflow, Optuna and the leaderboard are projections of.

One folder a trial, `trials/<trial id>/`:

    config.json              what was suggested, written when it was, and never again
    attempts/0002.json       one a start: node, device, the epoch it continued from
    failures/0001.json       one a start that failed: why, and whether the trial is to blame or its machine was lost
    checkpoints/0003-0002.pt the whole training state; written before its epoch record, the last two are kept. The last
                             epoch of a trial has none: nothing continues from it
    epochs/0003.json         one immutable record a durable epoch
    best/0003-0002/...       weights, confusion matrix and per-image counts of the best epoch
    val/0002/...             of a confirmation: what the best epoch's weights did on val; measured once
    judged/0003.json         that the driver has compared this epoch with other trials, and let the trial go on
    end.json                 the end marker: the reason and the whole history
    set_aside/...            epoch records that are damaged, or that follow a damaged one

An epoch is durable when its record exists; a durable epoch is never trained again. What a record promises carries the
number of the start that wrote it (0003-0002: epoch 3, start 2), and only what another record has replaced is deleted:
two starts of one trial, of which one passed for dead, cannot mix their files. Records of format 1 have no such number.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from trainable.errors import InputError, SearchFaultError
from trainable.record.file_names import files_of
from trainable.record.numbered_files import last_number, numbered
from trainable.record.record_format import decode, decode_record, encode, require_fields
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

CONFUSION_MATRIX_FILE: Final = "confusion_matrix.csv"
PER_IMAGE_COUNTS_FILE: Final = "per_image_counts.npz"
WEIGHTS_FILE: Final = "weights.pt"
VAL_FILE: Final = "val/record.json"
VAL_COUNTS_FILE: Final = "val/counts.npz"
VAL_MATRIX_FILE: Final = "val/confusion_matrix.csv"
"""Where the last two lie, `TrialRecord.val_file` knows."""

CONFIG_FILE: Final = "config.json"
_END_FILE: Final = "end.json"


class SupersededError(RuntimeError):
    """The trial was started again elsewhere: this process passed for dead, and nothing of it counts any more."""


@dataclass(frozen=True)
class EpochFiles:
    """The epoch records of a trial as they were found.

    Attributes:
        durable: From epoch 1 on, without a gap.
        rest: Names of the others: damaged, or behind a damaged or missing one.
    """

    durable: tuple[EpochRecord, ...]
    rest: tuple[str, ...]


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
        """Write what was suggested.

        Raises:
            SearchFaultError: There is such a trial.
        """
        if not self.folder.create(CONFIG_FILE, encode(spec)):
            raise SearchFaultError(
                f"a trial's number is given once ({self.folder.url})",
                "a trial that another process has recorded there meanwhile",
                "See that one process drives the search, and continue it with --resume; nothing is lost",
            )

    def start_attempt(self, node: str, device: str, continued_from: int) -> int:
        """Record a start of the trial and return its number, from 1: no other has it."""
        facts = {"node": node, "device": device, "continued_from": continued_from, "time_ms": now_ms()}
        while True:
            start = last_number(self.folder, "attempts") + 1
            if self.folder.create(numbered("attempts", start), encode(facts)):
                return start

    def require_newest(self, start: int) -> None:
        """Check that the trial was not started again since.

        Args:
            start: Number of a start.

        Raises:
            SupersededError: It was.
        """
        newest = last_number(self.folder, "attempts")
        if newest > start:
            raise SupersededError(
                f"start {start} of {self.trial_id} passed for dead and start {newest} took over: it ends without a word"
            )

    def attempts(self) -> int:
        """How often the trial was started, without the starts whose machine was lost."""
        starts = len(self.folder.names("attempts"))
        return starts - sum(failure.start > 0 and not failure.counted for failure in self.failures())

    def add_failure(self, reason: str, counted: bool) -> FailureRecord:
        """Record that the latest start of the trial has failed.

        Args:
            reason: One line.
            counted: Whether it counts as an attempt.
        """
        start = last_number(self.folder, "attempts")
        known = any(failure.start == start for failure in self.failures())
        number = last_number(self.folder, "failures") + 1
        failure = FailureRecord(number, 0 if known else start, redacted(reason), counted, now_ms())
        self._write_failure(failure)
        return failure

    def excuse(self, failure: FailureRecord) -> None:
        """Record that a failure does not count as an attempt after all."""
        self._write_failure(replace(failure, counted=False))

    def failures(self) -> tuple[FailureRecord, ...]:
        """All failures of starts, the first first; a damaged record is named in the log and left out.

        Raises:
            NewerRecordError: A newer version wrote one; so of all that reads records.
        """
        files = self.folder.read_many([f"failures/{name}" for name in self.folder.names("failures")])
        found = (decode_record(FailureRecord, data, self._place(name)) for name, data in sorted(files.items()))
        return tuple(failure for failure in found if failure)

    def _write_failure(self, failure: FailureRecord) -> None:
        self.folder.write(numbered("failures", failure.number), encode(failure))

    def append(self, record: EpochRecord) -> None:
        """Make an epoch durable; its checkpoint must have been written before.

        Raises:
            SupersededError: It is durable already: another start of this trial has trained it.
        """
        if not self.folder.create(numbered("epochs", record.epoch), encode(record)):
            raise SupersededError(f"epoch {record.epoch} of {self.trial_id} was recorded by another process meanwhile")

    def epochs(self) -> tuple[EpochRecord, ...]:
        """All durable epochs from 1 on, without a gap; a damaged one is named in the log, and ends them."""
        return self.epoch_files().durable

    def epoch_files(self) -> EpochFiles:
        """The epoch records, and what else lies among them."""
        files = self.folder.read_many([f"epochs/{name}" for name in self.folder.names("epochs")])
        return _contiguous(files, self)

    def set_aside(self, names: Iterable[str], start: int) -> None:
        """Move records out of the way of new ones: nobody deletes what could not be understood.

        Args:
            names: As `epoch_files` gives them.
            start: Number of the start that does it.
        """
        for name in names:
            data = self.folder.read(name)
            if data is not None:
                self.folder.write(f"set_aside/{start:04d}-{name.replace('/', '-')}", data)
                self.folder.delete(name)

    def judge(self, epoch: int) -> None:
        """Record that the driver has compared an epoch with other trials, and let this one go on."""
        self.folder.write(numbered("judged", epoch), encode({"time_ms": now_ms()}))

    def judged(self, epoch: int) -> bool:
        """Whether the driver has."""
        return self.folder.read(numbered("judged", epoch)) is not None

    def end(self, reason: EndReason, detail: str, history: Iterable[EpochRecord]) -> EndMarker:
        """Write the end marker."""
        marker = EndMarker(reason, redacted(detail), now_ms(), self.attempts(), tuple(history))
        self.folder.write(_END_FILE, encode(marker))
        return marker

    def add_val(self, val: ValRecord, files: Mapping[str, bytes]) -> None:
        """Make a measurement on val durable: its files first, then the record that promises them.

        Args:
            val: Its start names the files.
            files: By `VAL_COUNTS_FILE` and `VAL_MATRIX_FILE`.
        """
        for name, data in files.items():
            self.folder.write(self.val_file(val, name), data)
        self.folder.write(VAL_FILE, encode(val))

    def val(self) -> ValRecord | None:
        """The measurement on val, or None where there is none yet."""
        return decode_record(ValRecord, self.folder.read(VAL_FILE), self._place(VAL_FILE))

    def val_file(self, val: ValRecord, name: str) -> str:
        """Where a file of a measurement on val lies, relative to the trial's folder."""
        return name if val.start == 0 else name.replace("/", f"/{val.start:04d}/")

    def best_file(self, best: EpochRecord, name: str) -> str:
        """Where a file of the best epoch lies, relative to the trial's folder."""
        return f"best/{files_of(best)}/{name}"

    def _place(self, name: str) -> str:
        return f"{self.folder.url}/{name}"


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
    """Check that no trial is left out because its spec is damaged or gone: what is durable of it would be lost.

    Args:
        search: The folder of the search.
        known: Ids of the trials that could be loaded.

    Raises:
        InputError: A spec is damaged, or a trial has epochs and no spec.
    """
    for trial_id in search.child("trials").names():
        if trial_id in known:
            continue
        folder = f"trials/{trial_id}"
        damaged = search.read(f"{folder}/{CONFIG_FILE}") is not None
        if damaged or search.names(f"{folder}/epochs"):
            raise InputError(
                f"{search.url}/{folder}/{CONFIG_FILE} must say what {trial_id} is",
                "a damaged file" if damaged else "no such file",
                f"Put the artifact {CONFIG_FILE} of the run {trial_id} in MLflow in its place, or remove the folder "
                f"{folder} to give the trial up",
            )


def _load_trial(search: Storage, trial_id: str, files: Mapping[str, bytes]) -> TrialSnapshot | None:
    record = TrialRecord(search, trial_id)
    url = record.folder.url
    spec = decode_record(TrialSpec, files.get(f"trials/{trial_id}/{CONFIG_FILE}"), f"{url}/{CONFIG_FILE}")
    if spec is None:
        return None
    end = decode(_end_marker(f"{url}/{_END_FILE}"), files.get(f"trials/{trial_id}/{_END_FILE}"), f"{url}/{_END_FILE}")
    val = record.val() if spec.confirms else None
    if end is not None and end.reason == "completed" and spec.confirms and val is None:
        end = None  # its measurement is damaged: it is taken again from the best weights
    if end is not None:
        return TrialSnapshot(spec, end.history, end, end.attempts, val)
    return TrialSnapshot(spec, record.epochs(), None, record.attempts(), val)


def _contiguous(files: Mapping[str, bytes], record: TrialRecord) -> EpochFiles:
    durable: list[EpochRecord] = []
    names = sorted(files, key=lambda name: (len(name), name))  # 10000 after 9999
    # All are read before one is judged: a newer version's record behind a damaged one is refused all the same.
    found = [decode_record(EpochRecord, files[name], f"{record.folder.url}/{name}") for name in names]
    for name, epoch in zip(names, found, strict=True):
        if epoch is None:
            break
        if epoch.epoch != len(durable) + 1:
            logger.warning("%s/%s does not follow epoch %d: left out", record.folder.url, name, len(durable))
            break
        durable.append(epoch)
    return EpochFiles(tuple(durable), tuple(names[len(durable) :]))


def _end_marker(name: str) -> Callable[[dict[str, Any]], EndMarker]:
    def build(values: dict[str, Any]) -> EndMarker:
        require_fields(EndMarker, values, name)
        for epoch in values["history"]:
            require_fields(EpochRecord, epoch, name)
        return EndMarker(**values | {"history": tuple(EpochRecord(**epoch) for epoch in values["history"])})

    return build
