"""Plates of confusion matrices: one, the difference of two, and the flows of misclassified pixels."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.configuration_words import configuration_words
from analysis.figures.matrices import MANY_CLASSES, draw_confusion, draw_matrix_difference
from analysis.figures.misclassified import draw_misclassified
from analysis.figures.palette import Palette
from analysis.matrices import (
    describe_confusion,
    describe_matrix_difference,
    same_truth,
    tabulate_confusion,
    tabulate_matrix_difference,
)
from analysis.misclassified import (
    LEAST_SHARE,
    THINGS,
    describe_misclassified,
    grouped_flows,
    tabulate_misclassified,
)
from analysis.number_words import counted, listed
from analysis.plates.plate import Plate, Unavailable
from analysis.recorded_search import RecordedTrial
from analysis.share_words import percent
from trainable.image_set import LabelClass

Counts = NDArray[np.int64]


def confusion_plate(trial: RecordedTrial, classes: Sequence[LabelClass], runs: Sequence[RecordedTrial] = ()) -> Plate:
    """A trial's confusion matrix on dev; of a confirmed one, the sum of its runs' on val.

    Args:
        trial: Any.
        classes: Of the image set, in label order.
        runs: The runs that confirm it, or none for dev.

    Raises:
        Unavailable: There is no matrix, or nobody knows its classes.
    """
    matrix_CC, split = _measured(trial, classes, runs)
    frame = _with_runs(tabulate_confusion(matrix_CC, classes), runs or [trial], trial.trial_id)
    empty = _empty_rows(frame)
    printed = "; values below 1 % are not printed" if len(classes) > MANY_CLASSES else ""
    summed = f", added up over {counted(len(runs), 'run')} of fresh seeds" if runs else ""
    return Plate(
        key=f"confusion_{split}_{trial.trial_id}" if runs else f"confusion_{trial.trial_id}",
        title=f"Confusion matrix of {trial.trial_id} on {split}",
        shows=f"What the true pixels of each class (rows) are predicted as (columns) by {_about(trial)} on {split}"
        f"{summed}, in percent of the row, so that the diagonal is each class's recall{printed}{_hatched(empty)}.",
        says=describe_confusion(frame, split),
        alt=_alt_confusion(frame, split),
        table=frame,
        draw=lambda _: draw_confusion(frame),
    )


def matrix_difference_plate(best: RecordedTrial, baseline: RecordedTrial, classes: Sequence[LabelClass]) -> Plate:
    """What a trial's confusion matrix on dev has more and less than its baseline's.

    Args:
        best: What may be better.
        baseline: What it is compared with.
        classes: Of the image set, in label order.

    Raises:
        Unavailable: The two are one, or their matrices are equal or of other images, or one is missing.
    """
    if best.run_id == baseline.run_id:
        raise Unavailable(
            f"No difference of two confusion matrices: the best trial, {best.trial_id}, is the baseline itself."
        )
    matrix_CC, split = _measured(best, classes)
    other_CC, _ = _measured(baseline, classes)
    _check_comparable(best, baseline, matrix_CC, other_CC)
    frame = _with_pair(tabulate_matrix_difference(matrix_CC, other_CC, classes), best, baseline)
    label = f"percentage points of the true class's pixels, {best.trial_id} less {baseline.trial_id}"
    least = "; changes below 1 point are not printed" if len(classes) > MANY_CLASSES else ""
    return Plate(
        key="matrix_difference",
        title=f"What {best.trial_id} changed against {baseline.trial_id}",
        shows=f"The row-normalised confusion matrix on dev of {_about(best)}, less that of {_about(baseline)} "
        f"({_epochs(best, baseline)}), in percentage points: on the outlined diagonal more (purple) is better, "
        f"elsewhere less (orange) is{least}{_hatched(_empty_rows(frame))}.",
        says=describe_matrix_difference(frame, best.trial_id, baseline.trial_id, split),
        alt=_alt_difference(frame, best, baseline),
        table=frame,
        draw=lambda _: draw_matrix_difference(frame, label),
    )


def misclassified_plate(
    trial: RecordedTrial, classes: Sequence[LabelClass], runs: Sequence[RecordedTrial] = ()
) -> Plate:
    """Where a trial's misclassified pixels go.

    Args:
        trial: Any.
        classes: Of the image set, in label order.
        runs: The runs that confirm it, for the sum of what they did on val; or none for dev.

    Raises:
        Unavailable: There is no matrix, or nobody knows its classes, or no pixel is misclassified.
    """
    matrix_CC, split = _measured(trial, classes, runs)
    frame = _with_runs(tabulate_misclassified(matrix_CC, classes), runs or [trial], trial.trial_id)
    if frame.empty:
        raise Unavailable(
            f"No misclassified pixels of {trial.trial_id}: all of the {int(matrix_CC.sum()):,} on {split} are right."
        )
    panels = {_panel_title(panel, rows): grouped_flows(rows) for panel, rows in frame.groupby("panel", sort=False)}
    things = np.array([entry.thing for entry in classes], dtype=bool)
    summed = f", added up over {counted(len(runs), 'run')} of fresh seeds" if runs else ""
    return Plate(
        key=f"misclassified_{split}_{trial.trial_id}" if runs else f"misclassified_{trial.trial_id}",
        title=f"Misclassified pixels of {trial.trial_id} on {split}",
        shows=f"Bands lead from the true class (left) to the class that was predicted instead (right) by "
        f"{_about(trial)} on {split}{summed}; they are as thick as they have pixels, the correct ones are left out, "
        f"{_thing_words(frame, things)}{_other_words(frame)}.",
        says=describe_misclassified(frame, matrix_CC, things, split),
        alt=_alt_misclassified(frame, split),
        table=frame,
        draw=lambda palette: draw_misclassified(panels, _colors(palette, classes)),
        shows_classes=True,
    )


def _measured(
    trial: RecordedTrial, classes: Sequence[LabelClass], runs: Sequence[RecordedTrial] = ()
) -> tuple[Counts, str]:
    """The matrix, added up over the runs if there are any, and the split."""
    if not runs:
        return _checked(trial, trial.matrix, classes), "dev"
    return np.sum([_checked(run, run.held_out_matrix, classes) for run in runs], axis=0), "val"


def _checked(trial: RecordedTrial, matrix_CC: Counts | None, classes: Sequence[LabelClass]) -> Counts:
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
            "pixels. Compare trials of one search, on one dev split."
        )
    if (one_CC == other_CC).all():
        raise Unavailable(
            f"No difference of two confusion matrices: those of {best.trial_id} and {baseline.trial_id} are equal."
        )


def _about(trial: RecordedTrial) -> str:
    return f"{trial.trial_id}, {configuration_words(trial.config)}"


def _epochs(best: RecordedTrial, baseline: RecordedTrial) -> str:
    """Best epochs, since a pruned trial had fewer to choose from."""
    return ", ".join(f"{t.trial_id}: epoch {t.best_epoch} of its {t.epochs}, {t.state}" for t in (best, baseline))


def _with_runs(frame: pd.DataFrame, runs: Sequence[RecordedTrial], trial_id: str) -> pd.DataFrame:
    """Columns that say which runs the counts are of; more than one where they were added up."""
    frame.insert(0, "run_id", ";".join(run.run_id for run in runs))
    frame.insert(1, "trial_id", trial_id)
    return frame


def _with_pair(frame: pd.DataFrame, best: RecordedTrial, baseline: RecordedTrial) -> pd.DataFrame:
    frame = _with_runs(frame, [best], best.trial_id)
    return frame.assign(baseline_run_id=baseline.run_id, baseline_trial_id=baseline.trial_id)


def _empty_rows(frame: pd.DataFrame) -> list[str]:
    rows = frame.drop_duplicates("true")
    return rows.loc[rows["true_pixels"] == 0, "true"].tolist()


def _hatched(empty: Sequence[str]) -> str:
    return f"; hatched rows have no true pixels: {listed(empty)}" if empty else ""


def _alt_confusion(frame: pd.DataFrame, split: str) -> str:
    found = frame[(frame["true"] == frame["predicted"]) & (frame["true_pixels"] > 0)]
    numbers = ", ".join(f"{name} {percent(share)}" for name, share in zip(found["true"], found["share"], strict=True))
    return (
        f"Heat map, true classes as rows, predicted classes as columns, on {split}. Recall on the diagonal: {numbers}. "
        f"{describe_confusion(frame, split)}"
    ).strip()


def _alt_difference(frame: pd.DataFrame, best: RecordedTrial, baseline: RecordedTrial) -> str:
    found = frame[(frame["true"] == frame["predicted"]) & (frame["true_pixels"] > 0)]
    numbers = ", ".join(
        f"{name} {100 * change:+.1f}" for name, change in zip(found["true"], found["difference"], strict=True)
    )
    return (
        f"Heat map of the change of a confusion matrix from {baseline.trial_id} to {best.trial_id}, true classes as "
        f"rows, predicted classes as columns. Change of recall on the diagonal, in percentage points: {numbers}."
    )


def _panel_title(panel: object, rows: pd.DataFrame) -> str:
    return f"{panel}: {int(rows['pixels'].sum()):,} misclassified pixels (true class left, predicted class right)"


def _thing_words(frame: pd.DataFrame, things: NDArray[np.bool_]) -> str:
    if (frame["panel"] == THINGS).any():
        return "and the lower diagram has those of true things alone, which are too few to be seen in the upper one"
    return "and no pixel of a thing is misclassified" if things.any() else "and the data set has no thing class"


def _other_words(frame: pd.DataFrame) -> str:
    grouped = (frame["true"] != frame["drawn_true"]) | (frame["predicted"] != frame["drawn_predicted"])
    return f"; classes with less than {LEAST_SHARE:.0%} of a side are drawn together as other" if grouped.any() else ""


def _alt_misclassified(frame: pd.DataFrame, split: str) -> str:
    parts = []
    for panel, rows in frame.groupby("panel", sort=False):
        top = rows.nlargest(5, "pixels").to_dict("records")
        flows = ", ".join(f"{r['true']} to {r['predicted']} {r['pixels']:,} ({percent(r['share'])})" for r in top)
        parts.append(f"{str(panel).capitalize()}, largest flows in pixels: {flows}.")
    diagrams = "Sankey diagram" if len(parts) == 1 else "Two Sankey diagrams"
    return f"{diagrams} of misclassified pixels on {split}, from true to predicted class. {' '.join(parts)}"


def _colors(palette: Palette, classes: Sequence[LabelClass]) -> dict[str, tuple[float, float, float]]:
    """Colours by name, things first: the order from the top of the diagram."""
    colored = list(zip(classes, palette.floats(classes), strict=True))
    return {entry.name: color for entry, color in sorted(colored, key=lambda pair: not pair[0].thing)}
