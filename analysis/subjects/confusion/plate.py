"""Plates of confusion matrices: one, and the difference of two."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.recorded.recorded_search import RecordedTrial, named_trial
from analysis.subjects.confusion.figure import MANY_CLASSES, draw_confusion, draw_matrix_difference
from analysis.subjects.confusion.table import (
    describe_confusion,
    describe_matrix_difference,
    same_truth,
    tabulate_confusion,
    tabulate_matrix_difference,
)
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.number_words import counted, listed
from analysis.words.share_words import percent
from trainable.data.image_set import LabelClass

Counts = NDArray[np.int64]


def confusion_plate(trial: RecordedTrial, classes: Sequence[LabelClass]) -> Plate:
    """A trial's confusion matrix on dev.

    Args:
        trial: Any.
        classes: Of the image set, in label order.

    Raises:
        Unavailable: There is no matrix, or nobody knows its classes.
    """
    matrix_CC = checked_matrix(trial, trial.matrix, classes)
    frame = with_runs(tabulate_confusion(matrix_CC, classes), [trial], trial.trial_id)
    empty = _empty_rows(frame)
    printed = "; values below 1 % are not printed" if len(classes) > MANY_CLASSES else ""
    return Plate(
        key=f"confusion_{trial.trial_id}",
        title=f"Confusion matrix of {trial.trial_id} on dev",
        shows=f"What the true pixels of each class (rows) are predicted as (columns) by {named_trial(trial)} on dev, "
        f"in percent of the row, so that the diagonal is each class's recall{printed}{_hatched(empty)}.",
        says=describe_confusion(frame, "dev"),
        alt=_alt_confusion(frame),
        table=frame,
        draw=lambda _: draw_confusion(frame),
    )


def matrix_difference_plate(
    best: RecordedTrial,
    baseline: RecordedTrial,
    classes: Sequence[LabelClass],
    runs: Sequence[RecordedTrial] = (),
    baseline_runs: Sequence[RecordedTrial] = (),
) -> Plate:
    """What a trial's confusion matrix has more and less than its baseline's.

    Of confirmed ones that is on val, the runs of each added up; as many of each as the other has, so that both sums are
    of the same pixels.

    Args:
        best: What may be better.
        baseline: What it is compared with.
        classes: Of the image set, in label order.
        runs: The runs that confirm the best, or none for dev.
        baseline_runs: Likewise of the baseline.

    Raises:
        Unavailable: The two are one, or their matrices are equal or of other images, or one is missing.
    """
    if best.run_id == baseline.run_id:
        raise Unavailable(
            f"No difference of two confusion matrices: the best trial, {best.trial_id}, is the baseline itself."
        )
    number = min(len(runs), len(baseline_runs))
    split = "val" if number else "dev"
    matrix_CC, other_CC = _added_up(best, runs[:number], classes), _added_up(baseline, baseline_runs[:number], classes)
    _check_comparable(best, baseline, matrix_CC, other_CC)
    frame = with_runs(tabulate_matrix_difference(matrix_CC, other_CC, classes), runs[:number] or [best], best.trial_id)
    other_ids = ";".join(run.run_id for run in baseline_runs[:number] or [baseline])
    frame = frame.assign(baseline_run_id=other_ids, baseline_trial_id=baseline.trial_id)
    trained = f"{_runs_words(runs, baseline_runs)}, added up" if number else _epochs(best, baseline)
    label = f"percentage points of the true class's pixels, {best.trial_id} less {baseline.trial_id}"
    least = "; changes below 1 point are not printed" if len(classes) > MANY_CLASSES else ""
    return Plate(
        key="matrix_difference",
        title=f"What {best.trial_id} changed against {baseline.trial_id} on {split}",
        shows=f"The row-normalised confusion matrix on {split} of {named_trial(best)}, less that of "
        f"{named_trial(baseline)} ({trained}), in percentage points: on the outlined diagonal more (purple) is better, "
        f"elsewhere less (orange) is{least}{_hatched(_empty_rows(frame))}.",
        says=describe_matrix_difference(frame, best.trial_id, baseline.trial_id, split, max(number, 1)),
        alt=_alt_difference(frame, best, baseline, split),
        table=frame,
        draw=lambda _: draw_matrix_difference(frame, label),
    )


def _added_up(trial: RecordedTrial, runs: Sequence[RecordedTrial], classes: Sequence[LabelClass]) -> Counts:
    """The matrix on val, added up over the runs; without any, that of the trial on dev."""
    if not runs:
        return checked_matrix(trial, trial.matrix, classes)
    total_CC: Counts = np.sum([checked_matrix(run, run.val_matrix, classes) for run in runs], axis=0)
    return total_CC


def checked_matrix(trial: RecordedTrial, matrix_CC: Counts | None, classes: Sequence[LabelClass]) -> Counts:
    """The matrix, if there is one that has pixels and is of these classes."""
    if matrix_CC is None:
        raise Unavailable(
            f"No confusion matrix of {trial.trial_id} is recorded (it is {trial.state}): it is logged when a trial "
            "ends, and `aerosweep sync` fills in what is missing."
        )
    if matrix_CC.shape != (len(classes), len(classes)):
        raise Unavailable(
            f"The confusion matrix of {trial.trial_id} has {len(matrix_CC)} classes, but {len(classes)} are known: the "
            "counts of the search are missing or of another image set."
        )
    if not matrix_CC.any():
        raise Unavailable(f"The confusion matrix of {trial.trial_id} is empty: the split has no labelled pixel.")
    return matrix_CC


def _check_comparable(best: RecordedTrial, baseline: RecordedTrial, one_CC: Counts, other_CC: Counts) -> None:
    if not same_truth(one_CC, other_CC):
        raise Unavailable(
            f"No difference of two confusion matrices: {best.trial_id} and {baseline.trial_id} were measured on other "
            "pixels. Compare trials of one search, on one split."
        )
    if (one_CC == other_CC).all():
        raise Unavailable(
            f"No difference of two confusion matrices: those of {best.trial_id} and {baseline.trial_id} are equal."
        )


def _epochs(best: RecordedTrial, baseline: RecordedTrial) -> str:
    """Best epochs, since a pruned trial had fewer to choose from."""
    return ", ".join(f"{t.trial_id}: epoch {t.best_epoch} of its {t.epochs}, {t.state}" for t in (best, baseline))


def _runs_words(runs: Sequence[RecordedTrial], baseline_runs: Sequence[RecordedTrial]) -> str:
    """`3 runs of each from fresh seeds`; the first ones where one side has more."""
    words = counted(min(len(runs), len(baseline_runs)), "run")
    return f"{'' if len(runs) == len(baseline_runs) else 'the first '}{words} of each from fresh seeds"


def with_runs(frame: pd.DataFrame, runs: Sequence[RecordedTrial], trial_id: str) -> pd.DataFrame:
    """Columns that say which runs the counts are of; more than one where they were added up."""
    frame.insert(0, "run_id", ";".join(run.run_id for run in runs))
    frame.insert(1, "trial_id", trial_id)
    return frame


def _empty_rows(frame: pd.DataFrame) -> list[str]:
    rows = frame.drop_duplicates("true")
    return rows.loc[rows["true_pixels"] == 0, "true"].tolist()


def _hatched(empty: Sequence[str]) -> str:
    return f"; hatched rows have no true pixels: {listed(empty)}" if empty else ""


def _alt_confusion(frame: pd.DataFrame) -> str:
    found = frame[(frame["true"] == frame["predicted"]) & (frame["true_pixels"] > 0)]
    numbers = ", ".join(f"{name} {percent(share)}" for name, share in zip(found["true"], found["share"], strict=True))
    return (
        f"Heat map, true classes as rows, predicted classes as columns, on dev. Recall on the diagonal: {numbers}. "
        f"{describe_confusion(frame, 'dev')}"
    ).strip()


def _alt_difference(frame: pd.DataFrame, best: RecordedTrial, baseline: RecordedTrial, split: str) -> str:
    found = frame[(frame["true"] == frame["predicted"]) & (frame["true_pixels"] > 0)]
    numbers = ", ".join(
        f"{name} {100 * change:+.1f}" for name, change in zip(found["true"], found["difference"], strict=True)
    )
    return (
        f"Heat map of the change of a confusion matrix on {split} from {baseline.trial_id} to {best.trial_id}, true "
        "classes as rows, predicted classes as columns. Change of recall on the diagonal, in percentage points: "
        f"{numbers}."
    )
