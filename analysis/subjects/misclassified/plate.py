"""The plate of where misclassified pixels go."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.recorded.recorded_search import RecordedTrial, named_trial
from analysis.subjects.confusion.plate import checked_matrix, with_runs
from analysis.subjects.misclassified.figure import draw_misclassified
from analysis.subjects.misclassified.table import (
    LEAST_SHARE,
    THINGS,
    describe_misclassified,
    grouped_flows,
    tabulate_misclassified,
)
from analysis.subjects.palette import Palette
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.share_words import percent
from trainable.data.image_set import LabelClass


def misclassified_plate(trial: RecordedTrial, classes: Sequence[LabelClass]) -> Plate:
    """Where a trial's misclassified pixels on dev go.

    Args:
        trial: Any.
        classes: Of the image set, in label order.

    Raises:
        Unavailable: There is no matrix, or nobody knows its classes, or no pixel is misclassified.
    """
    matrix_CC = checked_matrix(trial, trial.matrix, classes)
    frame = with_runs(tabulate_misclassified(matrix_CC, classes), [trial], trial.trial_id)
    if frame.empty:
        raise Unavailable(
            f"No misclassified pixels of {trial.trial_id}: all of the {int(matrix_CC.sum()):,} on dev are right."
        )
    panels = {_panel_title(panel, rows): grouped_flows(rows) for panel, rows in frame.groupby("panel", sort=False)}
    things = np.array([entry.thing for entry in classes], dtype=bool)
    return Plate(
        key=f"misclassified_{trial.trial_id}",
        title=f"Misclassified pixels of {trial.trial_id} on dev",
        shows=f"Bands lead from the true class (left) to the class that was predicted instead (right) by "
        f"{named_trial(trial)} on dev; they are as thick as they have pixels, the correct ones are left out, "
        f"{_thing_words(frame, things)}{_other_words(frame)}.",
        says=describe_misclassified(frame, matrix_CC, things, "dev"),
        alt=_alt_misclassified(frame),
        table=frame,
        draw=lambda palette: draw_misclassified(panels, _colors(palette, classes)),
        shows_classes=True,
    )


def _thing_words(frame: pd.DataFrame, things: NDArray[np.bool_]) -> str:
    if (frame["panel"] == THINGS).any():
        return "and the lower diagram has those of true things alone, which are too few to be seen in the upper one"
    return "and no pixel of a thing is misclassified" if things.any() else "and the data set has no thing class"


def _other_words(frame: pd.DataFrame) -> str:
    grouped = (frame["true"] != frame["drawn_true"]) | (frame["predicted"] != frame["drawn_predicted"])
    return f"; classes with less than {LEAST_SHARE:.0%} of a side are drawn together as other" if grouped.any() else ""


def _alt_misclassified(frame: pd.DataFrame) -> str:
    parts = []
    for panel, rows in frame.groupby("panel", sort=False):
        top = rows.nlargest(5, "pixels").to_dict("records")
        flows = ", ".join(f"{r['true']} to {r['predicted']} {r['pixels']:,} ({percent(r['share'])})" for r in top)
        parts.append(f"{str(panel).capitalize()}, largest flows in pixels: {flows}.")
    diagrams = "Sankey diagram" if len(parts) == 1 else "Two Sankey diagrams"
    return f"{diagrams} of misclassified pixels on dev, from true to predicted class. {' '.join(parts)}"


def _colors(palette: Palette, classes: Sequence[LabelClass]) -> dict[str, tuple[float, float, float]]:
    """Colours by name, things first: the order from the top of the diagram."""
    colored = list(zip(classes, palette.floats(classes), strict=True))
    return {entry.name: color for entry, color in sorted(colored, key=lambda pair: not pair[0].thing)}


def _panel_title(panel: object, rows: pd.DataFrame) -> str:
    return f"{panel}: {int(rows['pixels'].sum()):,} misclassified pixels (true class left, predicted class right)"
