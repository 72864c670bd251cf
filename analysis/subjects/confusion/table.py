"""Confusion matrices as tables and sentences: one of them, and the difference of two.

Shapes: C classes; rows are true labels, columns predicted ones.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.words.number_words import listed
from analysis.words.share_words import percent
from trainable.data.image_set import LabelClass

Counts = NDArray[np.int64]

LEAST_CHANGE: Final = 0.01
"""Share of a class's true pixels that must have changed before a sentence names it."""

_NAMED: Final = 2
"""Classes or changes that a sentence names."""


def row_shares(matrix_CC: Counts) -> NDArray[np.float64]:
    """The share of each class's true pixels that is predicted as each class.

    Args:
        matrix_CC: Pixels.

    Returns:
        (C, C), float64 in 0..1; rows of sum 1, or NaN for a class without true pixels.
    """
    true = matrix_CC.sum(axis=1, keepdims=True)
    shares = np.full(matrix_CC.shape, np.nan)
    np.divide(matrix_CC, true, out=shares, where=true > 0)
    return shares


def tabulate_confusion(matrix_CC: Counts, classes: Sequence[LabelClass]) -> pd.DataFrame:
    """A confusion matrix as rows.

    Args:
        matrix_CC: Pixels.
        classes: In label order.

    Returns:
        A row for each pair, row by row of the matrix, with the columns true, predicted, true_thing, predicted_thing,
        true_pixels (of the true class), pixels, share (of the true pixels; NaN where there are none).

    Raises:
        ValueError: The classes are not as many as the matrix's.
    """
    _check_size(matrix_CC, classes)
    names, things = [entry.name for entry in classes], np.array([entry.thing for entry in classes], dtype=bool)
    rows, columns = np.indices(matrix_CC.shape).reshape(2, -1)
    return pd.DataFrame(
        {
            "true": [names[row] for row in rows],
            "predicted": [names[column] for column in columns],
            "true_thing": things[rows],
            "predicted_thing": things[columns],
            "true_pixels": matrix_CC.sum(axis=1)[rows],
            "pixels": matrix_CC.ravel(),
            "share": row_shares(matrix_CC).ravel(),
        }
    )


def _check_size(matrix_CC: Counts, classes: Sequence[LabelClass]) -> None:
    if matrix_CC.shape != (len(classes), len(classes)):
        raise ValueError(
            f"a confusion matrix must have a row and a column for each class; got {matrix_CC.shape} for {len(classes)} "
            "classes. Pass the matrix and the classes of one trial."
        )


def tabulate_matrix_difference(best_CC: Counts, baseline_CC: Counts, classes: Sequence[LabelClass]) -> pd.DataFrame:
    """Two confusion matrices of the same images, side by side.

    Args:
        best_CC: Pixels.
        baseline_CC: Pixels of what it is compared with.
        classes: In label order.

    Returns:
        A row for each pair with the columns true, predicted, true_thing, predicted_thing, true_pixels, pixels_best,
        pixels_baseline, share_best, share_baseline (of the true pixels) and difference (of the shares, best less
        baseline, -1..1). NaN where the class has no true pixels.

    Raises:
        ValueError: A size is wrong, or the two have other true pixels.
    """
    best, baseline = tabulate_confusion(best_CC, classes), tabulate_confusion(baseline_CC, classes)
    if not same_truth(best_CC, baseline_CC):
        raise ValueError(
            "compared matrices must be of the same images; a class has other true pixels in the two. Pass matrices of "
            "the same split."
        )
    about = best[["true", "predicted", "true_thing", "predicted_thing", "true_pixels"]]
    return about.assign(
        pixels_best=best["pixels"],
        pixels_baseline=baseline["pixels"],
        share_best=best["share"],
        share_baseline=baseline["share"],
        difference=best["share"] - baseline["share"],
    )


def same_truth(one_CC: Counts, other_CC: Counts) -> bool:
    """Whether two matrices have as many true pixels of each class."""
    return one_CC.shape == other_CC.shape and bool((one_CC.sum(axis=1) == other_CC.sum(axis=1)).all())


def describe_confusion(frame: pd.DataFrame, split: str) -> str:
    """What the classes that are confused most are taken for, of the things where there are any.

    Args:
        frame: As of `tabulate_confusion`.
        split: Name of the split.

    Returns:
        Empty where no true pixel of them is misclassified.
    """
    wrong = frame[(frame["true"] != frame["predicted"]) & (frame["pixels"] > 0)]
    things = wrong[wrong["true_thing"]]
    mostly = (things if len(things) else wrong).sort_values("share", ascending=False, kind="stable")
    mostly = mostly.drop_duplicates("true").head(_NAMED)
    found = frame[frame["true"] == frame["predicted"]].set_index("true")["share"]
    parts = [
        f"{percent(row['share'])} of the {row['true']} pixels are taken for {row['predicted']} ({row['pixels']:,} of "
        f"{row['true_pixels']:,}; {percent(found[row['true']])} are found)"
        for row in mostly.to_dict("records")
    ]
    if not parts:
        return ""
    kind = "thing classes" if len(things) else "classes"
    return f"On {split}, the largest confusions of {kind}: {listed(parts)}."


def describe_matrix_difference(frame: pd.DataFrame, best: str, baseline: str, split: str = "dev", runs: int = 1) -> str:
    """What the best trial repaired against its baseline, and what it broke; things first.

    A confusion that fell is a repair only as far as more of the class is found: pixels that moved from one wrong class
    to another repair nothing. Likewise for damage. Both are named from one percentage point of the true class's pixels
    on; stuff newly taken for a thing from one hundredth of the thing's true pixels on.

    Args:
        frame: As of `tabulate_matrix_difference`.
        best: What the first matrix is of: `t0004`.
        baseline: What the second is of.
        split: Name of the split.
        runs: How many training runs each matrix is the sum of.

    Returns:
        Empty where nothing changed so much.
    """
    found = frame[frame["true"] == frame["predicted"]].set_index("true")
    wrong = frame[(frame["true"] != frame["predicted"]) & frame["difference"].notna()]
    gain = pd.Series(found["difference"].reindex(wrong["true"]).to_numpy(), index=wrong.index)
    repairs = _largest(wrong, pd.concat([-wrong["difference"], gain], axis=1).min(axis=1))
    damages = _largest(wrong, pd.concat([wrong["difference"], -gain], axis=1).min(axis=1))
    first = [_change_words(row, found) for row in repairs.to_dict("records")]
    second = [_change_words(row, found) for row in damages.to_dict("records")]
    second += _intruders(wrong.drop(index=damages.index), found)
    if not first and not second:
        return ""
    trained = "one training run each" if runs == 1 else f"{runs} training runs each, added up"
    head = f"On {split}, {best} against {baseline}, {trained}"
    said = f"{head}: largest repairs: {'; '.join(first)}." if first else f"{head}: no repair of one point or more."
    return (
        f"{said} Largest new damage: {'; '.join(second)}." if second else f"{said} No new damage of one point or more."
    )


def _largest(wrong: pd.DataFrame, worth: "pd.Series[float]") -> pd.DataFrame:
    """The confusions that changed most by what that is worth; among things where one has changed enough."""
    enough = wrong.assign(worth=worth)[worth >= LEAST_CHANGE]
    if enough["true_thing"].any():
        enough = enough[enough["true_thing"]]
    return enough.sort_values("worth", ascending=False, kind="stable").head(_NAMED)


def _change_words(row: Mapping[Hashable, Any], found: pd.DataFrame) -> str:
    """`person taken for road fell from 71 % to 38 % of person pixels (-238 pixels; found: 20 % to 55 %)`."""
    pixels = row["pixels_best"] - row["pixels_baseline"]
    recall = found.loc[row["true"]]
    return (
        f"{row['true']} taken for {row['predicted']} {'fell' if pixels < 0 else 'rose'} from "
        f"{percent(row['share_baseline'])} to {percent(row['share_best'])} of {row['true']} pixels "
        f"({pixels:+,} pixels; found: {percent(recall['share_baseline'])} to {percent(recall['share_best'])})"
    )


def _intruders(wrong: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """Stuff pixels newly taken for a thing, which a share of the stuff's many pixels would hide; the most at most."""
    stuff = wrong[~wrong["true_thing"] & wrong["predicted_thing"]]
    new = stuff["pixels_best"] - stuff["pixels_baseline"]
    of_thing = found["true_pixels"].reindex(stuff["predicted"]).to_numpy()
    enough = stuff.assign(new=new, of_thing=of_thing)[(new > 0) & (new >= LEAST_CHANGE * of_thing)]
    if enough.empty:
        return []
    row = enough.iloc[int(enough["new"].argmax())]
    more = f"{row['new']:,} more {row['true']} pixels taken for {row['predicted']}"
    return [f"{more}, which has {row['of_thing']:,} true pixels"]
