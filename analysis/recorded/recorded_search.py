"""A recorded search as the analysis sees it, wherever it was read from.

What is large (metric histories, counts by image, weights) is read when it is first asked for, and remembered.
"""

import csv
import io
import logging
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.words.configuration_words import configuration_words
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_set import LabelClass
from trainable.measure.image_counts import ImageCounts
from trainable.measure.val_counts import ValCounts
from trainable.record.metric_names import OBJECTIVE
from trainable.record.trial_record import (
    CONFUSION_MATRIX_FILE,
    PER_IMAGE_COUNTS_FILE,
    VAL_COUNTS_FILE,
    VAL_MATRIX_FILE,
    WEIGHTS_FILE,
)
from trainable.record.trial_words import loss_name, model_and_loss

logger = logging.getLogger(__name__)

Counted = TypeVar("Counted", bound=ImageCounts)

USEFUL_STATES: Final = ("completed", "pruned")
"""States of a trial that ended and came to something."""

_UNREADABLE: Final = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class RunSource(Protocol):
    """Where the large parts of runs are read from."""

    def history(self, run_id: str, names: Sequence[str]) -> pd.DataFrame:
        """Metrics by epoch: index `epoch` from 1, ascending; a column for each name, NaN where it was not recorded."""
        ...

    def artifact(self, run_id: str, name: str) -> bytes | None:
        """The content of an artifact, or None where the run has none of that name."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedTrial:
    """A trial of a search, or a run that confirms one.

    Attributes:
        source: Reads its large parts.
        run_id: Of MLflow.
        trial_id: `t0007`; of a confirmation `t0007-s1`.
        state: completed, pruned, diverged, failed; running or interrupted where it has not ended.
        reason: Why it ended, for a person; may be empty.
        baseline: Whether it was an enqueued baseline, which is never stopped early.
        confirms: Id of the trial whose configuration it trains again; empty for a trial of the search.
        params: The searched values by flat key (`loss.alpha`); those that do not exist under its loss are absent.
        config: The resolved config of the trial, as of `trainable.trial_config.TrialConfig.model_dump(mode="json")`.
        metrics: The last value of each metric; on val, of a confirmation, under `val/...`.
        minutes: Wall-clock time that it trained, NaN where unknown.
    """

    source: RunSource
    run_id: str
    trial_id: str
    state: str
    reason: str = ""
    baseline: bool = False
    confirms: str = ""
    params: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    minutes: float = float("nan")

    @property
    def label(self) -> str:
        """Model and loss in words: `unet, dice`."""
        return model_and_loss(self.config)

    @property
    def loss(self) -> str:
        """Name of the loss: tversky."""
        return loss_name(self.config)

    @property
    def ended(self) -> bool:
        """Whether it ended and came to something: completed or pruned."""
        return self.state in USEFUL_STATES

    @property
    def objective(self) -> float:
        """The best of the first objective on dev so far; NaN before the first epoch, and where it failed."""
        return float("nan") if self.state == "failed" else self.metrics.get(OBJECTIVE, float("nan"))

    @cached_property
    def objective_curve(self) -> "pd.Series[float]":
        """The running best of the first objective by epoch (index from 1); empty before the first."""
        return self.source.history(self.run_id, [OBJECTIVE])[OBJECTIVE].dropna()

    @property
    def epochs(self) -> int:
        """Epochs that it trained."""
        return len(self.objective_curve)

    @property
    def best_epoch(self) -> int:
        """The epoch that its objective comes from, and its counts, matrix and weights; 0 before the first."""
        curve = self.objective_curve
        return int(curve.index[int(curve.to_numpy().argmax())]) if len(curve) else 0

    @cached_property
    def history(self) -> pd.DataFrame:
        """All metrics of dev and training by epoch (index from 1)."""
        names = sorted(name for name in self.metrics if not name.startswith("val/"))
        return self.source.history(self.run_id, names)

    @cached_property
    def image_counts(self) -> ImageCounts | None:
        """What its best epoch did on each dev image, or None where that is not recorded (yet)."""
        return self._decoded(ImageCounts, PER_IMAGE_COUNTS_FILE)

    @cached_property
    def val(self) -> ValCounts | None:
        """Of a confirmation: what its network did on each val image, or None."""
        if not self.confirms:
            return None
        return self._decoded(ValCounts, VAL_COUNTS_FILE.replace("/", "_"))

    @cached_property
    def matrix(self) -> NDArray[np.int64] | None:
        """The confusion matrix of its best epoch on dev, (C, C), rows true, or None."""
        return _decoded_matrix(self.source.artifact(self.run_id, CONFUSION_MATRIX_FILE))

    @cached_property
    def val_matrix(self) -> NDArray[np.int64] | None:
        """Of a confirmation: the confusion matrix on val, (C, C), rows true, or None."""
        if not self.confirms:
            return None
        return _decoded_matrix(self.source.artifact(self.run_id, VAL_MATRIX_FILE.replace("/", "_")))

    def _decoded(self, kind: type[Counted], name: str) -> Counted | None:
        """What an artifact holds; one that is damaged, or of an older version, is named in the log and left out."""
        data = self.source.artifact(self.run_id, name)
        try:
            return None if data is None else kind.from_bytes(data)
        except _UNREADABLE as error:
            logger.warning("%s of run %s (%s) cannot be read: %s", name, self.run_id, self.trial_id, error)
            return None

    def weights(self) -> bytes | None:
        """The bytes of its weights file, or None where they were not kept."""
        return self.source.artifact(self.run_id, WEIGHTS_FILE)


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedSearch:
    """A search.

    Attributes:
        name: Its name.
        search_id: Unique for ever.
        run_id: Of its parent run in MLflow.
        state: completed, running, interrupted or failed.
        where: The tracking URI, without a password.
        objectives: What was searched for; the first decides best epochs and rankings, and grows.
        max_epochs: Epochs of a trial that is not stopped early.
        budget: Trials that were asked for.
        relevant_gain: The least difference that would matter.
        trials: Of the search, by trial id.
        runs: Of its confirmation, by id; empty where it was not confirmed.
        dataset: Its image set, or None where there is no trial.
        data_fingerprint: Of the images and masks that it saw; may be empty.
        settings: The resolved search config by flat key (`scheduler.grace_epochs`), values as text; may be empty.
        started_ms: When the first trial was suggested, milliseconds since 1970.
        problems: What could not be read, a sentence each.
    """

    name: str
    search_id: str
    run_id: str
    state: str
    where: str
    objectives: tuple[str, ...]
    max_epochs: int
    budget: int
    relevant_gain: float
    trials: tuple[RecordedTrial, ...]
    runs: tuple[RecordedTrial, ...] = ()
    dataset: DatasetConfig | None = None
    data_fingerprint: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    started_ms: int = 0
    problems: tuple[str, ...] = ()

    @property
    def folder(self) -> str | None:
        """Where its record was when it last ran: a path or a URL; None where that is not known."""
        storage = self.settings.get("storage")
        return f"{storage.rstrip('/')}/{self.name}" if storage else None

    @cached_property
    def ranked(self) -> list[RecordedTrial]:
        """Trials that ended and came to something, the best by the first objective on dev first."""
        return sorted((t for t in self.trials if t.ended), key=lambda trial: (-trial.objective, trial.trial_id))

    @cached_property
    def classes(self) -> tuple[LabelClass, ...]:
        """The classes, in label order; empty where no trial has recorded counts."""
        counted = (trial.image_counts for trial in self.ranked)
        return next((counts.classes for counts in counted if counts is not None), ())

    def trial(self, trial_id: str) -> RecordedTrial:
        """The trial of an id.

        Raises:
            KeyError: There is none.
        """
        return {trial.trial_id: trial for trial in self.trials}[trial_id]

    def best_of_each_loss(self) -> dict[str, RecordedTrial]:
        """The best trial of each loss that ran the full length, else of those that did not; the best loss first."""
        full_first = sorted(self.ranked, key=lambda trial: trial.epochs < self.max_epochs)
        best: dict[str, RecordedTrial] = {}
        for trial in full_first:
            best.setdefault(trial.loss, trial)
        return dict(sorted(best.items(), key=lambda item: -item[1].objective))


def _decoded_matrix(data: bytes | None) -> NDArray[np.int64] | None:
    try:
        rows = list(csv.reader(io.StringIO((data or b"").decode())))[1:]
        matrix = np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=np.int64)
    except ValueError:
        return None
    return matrix if matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] else None


def named_trial(trial: RecordedTrial) -> str:
    """A trial by its id and its configuration: `t0007, Tversky (.62, .31, 1.1) on DeepLabV3+`."""
    return f"{trial.trial_id}, {configuration_words(trial.config)}"
