"""One trial as it runs: training, checkpoint and record in the order that makes a crash harmless."""

import math
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainable.measure.val_counts import ValOutcome
from trainable.record import metric_names as names
from trainable.record.checkpoint import Checkpoints, from_bytes, to_bytes
from trainable.record.file_names import epoch_of, files_of
from trainable.record.metric_names import MIOU
from trainable.record.record_types import EpochRecord, ValRecord, now_ms
from trainable.record.trial_record import (
    CONFUSION_MATRIX_FILE,
    PER_IMAGE_COUNTS_FILE,
    VAL_COUNTS_FILE,
    VAL_MATRIX_FILE,
    WEIGHTS_FILE,
    TrialRecord,
)
from trainable.training import EpochOutcome, State


class Trainer(Protocol):
    """What a trial run needs of a training loop; `trainable.training.Training` is the real one."""

    def run_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> EpochOutcome:
        """Train and evaluate one epoch."""
        ...

    def state(self) -> State:
        """All that the next epoch depends on."""
        ...

    def load_state(self, state: State) -> None:
        """Continue from a state."""
        ...

    def weights(self) -> State:
        """The weights alone; empty where there is nothing worth keeping."""
        ...

    def measure_val(self, weights: State, tau: float) -> ValOutcome:
        """Evaluate weights on val, with and without logit adjustment of strength `tau`."""
        ...


@dataclass(frozen=True)
class Host:
    """Where a trial runs.

    Attributes:
        device: `cpu` or the GPU's name.
        node: Host name.
    """

    device: str
    node: str = socket.gethostname()


class TrialRun:
    """Continues a trial from its record, whenever and wherever it is started.

    Args:
        record: The trial's record.
        trainer: The training loop, freshly built.
        objective: Name of the metric whose running best is the objective.
        class_names: For the confusion matrix.
        place: For the record.
        max_epochs: Where the trial is complete.
    """

    def __init__(
        self,
        record: TrialRecord,
        trainer: Trainer,
        objective: str,
        class_names: tuple[str, ...],
        place: Host,
        max_epochs: int,
    ) -> None:
        self._record = record
        self._trainer = trainer
        self._objective = objective
        self._class_names = class_names
        self._place = place
        self._max_epochs = max_epochs
        self._checkpoints = Checkpoints(record.folder)
        self._notes: list[str] = []
        found = record.epoch_files()
        self._durable = found.durable
        self._trained = self._restore()
        self._in_step = False
        self._start = record.start_attempt(place.node, place.device, self._trained)
        self._attempt = record.attempts()
        record.set_aside(found.rest, self._start)
        self._prune(newest=self._trained)

    def _restore(self) -> int:
        """Load the newest whole checkpoint and return its epoch, 0 for a fresh start."""
        loaded = self._checkpoints.load_newest(self._durable, self._notes.append)
        if loaded is None:
            return 0
        epoch, state = loaded
        self._trainer.load_state(state)
        return epoch

    def take_notes(self) -> list[str]:
        """What the user should hear, once: that a checkpoint was refused, or a batch had to be split."""
        notes, self._notes = self._notes, []
        return notes

    def step(self, should_stop: Callable[[], bool] = lambda: False) -> EpochRecord:
        """Train the next epoch and make it durable.

        A trial that is complete or has diverged trains no further: whoever did not hear of its last epoch hears it now.

        Returns:
            The epoch's record.

        Raises:
            InterruptedTraining: `should_stop` said so; nothing of the epoch is kept.
            SupersededError: The trial was started again elsewhere; nothing of the epoch is kept.
            RuntimeError: The last step raised: the training loop is somewhere inside an epoch. A new run continues.
        """
        if self._in_step:
            raise RuntimeError(f"an epoch of {self._record.trial_id} was left half-way; a new TrialRun continues it")
        last = self._durable[-1] if self._durable else None
        if last is not None and (last.diverged is not None or last.epoch >= self._max_epochs):
            return last
        self._in_step = True
        epoch = self._trained + 1
        outcome = self._trainer.run_epoch(epoch, should_stop)
        self._notes += outcome.notes
        self._record.require_newest(self._start)
        if epoch > len(self._durable):
            self._keep(self._score(epoch, outcome), outcome)
        else:
            # Its checkpoint was damaged and is made again; record and best files stand as they were.
            self._save_checkpoint(epoch, self._durable[epoch - 1].start, outcome)
        self._prune(newest=epoch)
        self._trained = epoch
        self._in_step = False
        return self._durable[epoch - 1]

    def measure_val(self) -> None:
        """Measure the best epoch's weights on val, once, when the trial is complete; else do nothing.

        Raises:
            RuntimeError: The weights are gone or damaged.
            SupersededError: The trial was started again elsewhere.
        """
        last = self._durable[-1] if self._durable else None
        if last is None or last.diverged is not None or last.epoch < self._max_epochs:
            return
        if self._record.val() is not None:
            return
        best = self._durable[last.best_epoch - 1]
        outcome = self._trainer.measure_val(self._weights(best), best.metrics.get(names.ADJUSTED_TAU, 0))
        self._notes += outcome.notes
        self._record.require_newest(self._start)
        files = {
            VAL_COUNTS_FILE: outcome.counts.to_bytes(),
            VAL_MATRIX_FILE: _csv(outcome.matrix, self._class_names),
        }
        self._record.add_val(ValRecord(best.epoch, now_ms(), outcome.metrics, self._start), files)

    def _weights(self, best: EpochRecord) -> State:
        name = self._record.best_file(best, WEIGHTS_FILE)
        data = self._record.folder.read(name)
        if data is None:
            raise RuntimeError(f"{self._record.folder.url} has no weights of its best epoch, {best.epoch}")
        try:
            weights: State = from_bytes(data)["state_dict"]
        except Exception as error:  # whatever a damaged file makes the reader raise
            raise RuntimeError(f"{self._record.folder.url}/{name} is damaged: {error}") from error
        return weights

    def _score(self, epoch: int, outcome: EpochOutcome) -> EpochRecord:
        value = outcome.metrics.get(self._objective, 0.0)
        before = self._durable[-1] if self._durable else None
        improved = before is None or value > before.objective
        best_miou = max(
            [outcome.metrics.get(MIOU, -math.inf), *(e.metrics.get(MIOU, -math.inf) for e in self._durable)]
        )
        objective = value if improved or before is None else before.objective
        metrics = dict(outcome.metrics)
        if math.isfinite(best_miou):
            metrics[names.BEST_MIOU] = best_miou
        return EpochRecord(
            epoch=epoch,
            time_ms=now_ms(),
            # A diverged trial must look bad to sampler and scheduler, whatever it reached on its way.
            objective=0.0 if outcome.diverged else objective,
            best_epoch=epoch if improved or before is None else before.best_epoch,
            metrics=metrics | {names.OBJECTIVE: 0.0 if outcome.diverged else objective},
            attempt=self._attempt,
            node=self._place.node,
            device=self._place.device,
            diverged=outcome.diverged,
            start=self._start,
        )

    def _keep(self, record: EpochRecord, outcome: EpochOutcome) -> None:
        """Best files and checkpoint first: a record promises that they are there."""
        if record.best_epoch == record.epoch and outcome.diverged is None:
            self._write_best(record, outcome)
        self._save_checkpoint(record.epoch, self._start, outcome)
        self._record.append(record)
        self._durable = (*self._durable, record)

    def _save_checkpoint(self, epoch: int, start: int, outcome: EpochOutcome) -> None:
        # Nothing continues from the last epoch, and its checkpoint would be most of what the end of a trial takes.
        if outcome.diverged is None and epoch < self._max_epochs:
            self._checkpoints.save(epoch, start, self._trainer.state())

    def _write_best(self, best: EpochRecord, outcome: EpochOutcome) -> None:
        folder, record = self._record.folder, self._record
        weights = self._trainer.weights()
        if weights:
            content = {"class_names": list(self._class_names), "state_dict": weights}
            folder.write(record.best_file(best, WEIGHTS_FILE), to_bytes(content))
        if outcome.matrix is not None:
            table = _csv(outcome.matrix, self._class_names)
            folder.write(record.best_file(best, CONFUSION_MATRIX_FILE), table)
        if outcome.image_counts is not None:
            folder.write(record.best_file(best, PER_IMAGE_COUNTS_FILE), outcome.image_counts.to_bytes())

    def _prune(self, newest: int) -> None:
        """Delete the checkpoints and best files that records have replaced, also those of a start that was killed."""
        self._checkpoints.prune(self._durable, newest)
        folder = self._record.folder
        best = files_of(self._durable[self._durable[-1].best_epoch - 1]) if self._durable else ""
        for name in folder.names("best"):
            if name != best and 0 < epoch_of(name) <= len(self._durable):
                folder.delete_folder(f"best/{name}")


def _csv(matrix: np.ndarray[tuple[int, ...], np.dtype[np.int64]], class_names: tuple[str, ...]) -> bytes:
    """The confusion matrix as a table: a row a true class, a column a predicted one, in pixels."""
    rows = [",".join(["true \\ predicted", *class_names])]
    rows += [",".join([name, *map(str, row)]) for name, row in zip(class_names, matrix.tolist(), strict=True)]
    return ("\n".join(rows) + "\n").encode()
