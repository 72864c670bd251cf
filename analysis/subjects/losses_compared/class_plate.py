"""The losses of a search compared class by class."""

from typing import Final

import pandas as pd

from analysis.recorded.loss_trials import CLASS_METRICS, tabulate_trials
from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.losses_compared.figure import draw_loss_classes
from analysis.subjects.losses_compared.sentences import describe_dropped, loss_titles
from analysis.subjects.losses_compared.table import compare_classes, compare_losses, find_dropped
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.gain_words import metric_title
from analysis.words.number_words import short

LOSSES_BY_CLASS: Final = "Losses compared, class by class"


def losses_by_class_plate(search: RecordedSearch) -> Plate:
    """What the best of equally many full-length trials of each loss is expected to score on each class.

    Raises:
        Unavailable: No trial ran the full length and has recorded what it counted.
    """
    trials = tabulate_trials(search)
    things = [entry.name for entry in search.classes if entry.thing]
    frame = compare_classes(trials, things)
    if frame.empty:
        full = int((trials["ending"] == "full").sum())
        raise Unavailable(
            f"Classes are compared by trials that ran all {search.max_epochs} epochs and recorded their counts by "
            f"image; {full} of {len(trials)} ran so long, and none of them has counts. Let the search go on."
        )
    dropped = find_dropped(trials, things)
    compared = compare_losses(trials, search.objectives[0])["loss"].drop_duplicates()
    order = [loss for loss in compared if loss in set(frame["loss"])]
    names = loss_titles(order)
    trials_of = frame.drop_duplicates("loss").set_index("loss")["trials"]
    labels = {loss: f"{names[loss]} ({trials_of[loss]})" for loss in order}
    n_equal = int(frame["n_equal"].max())
    titles = {kind: f"{metric_title(kind)}\nbest of {n_equal}, {search.max_epochs} epochs" for kind in CLASS_METRICS}
    return Plate(
        key="losses_by_class",
        title=LOSSES_BY_CLASS,
        shows=_shows(search, trials, frame, n_equal),
        says=describe_dropped(dropped),
        alt=_alt(frame, names, n_equal),
        table=frame,
        draw=lambda _: draw_loss_classes(frame, labels, titles),
    )


def _shows(search: RecordedSearch, trials: pd.DataFrame, frame: pd.DataFrame, n_equal: int) -> str:
    return (
        "Each cell is what the best trial (chosen by the objective) of a loss (columns) is expected to score on a "
        f"class of dev (rows): the best of {n_equal} drawn from its trials that ran all {search.max_epochs} epochs, "
        "whose number stands in brackets; recall is the share of a class's pixels that is found, precision the share "
        "of the pixels predicted as it that are right, 0 where it is never predicted"
        f"{_left_out(search, trials, frame)}."
    )


def _left_out(search: RecordedSearch, trials: pd.DataFrame, frame: pd.DataFrame) -> str:
    """What the figure has no row or column for, and why."""
    known = set(frame["class"])
    absent = [entry.name for entry in search.classes if entry.name not in known]
    losses = [loss for loss in trials["loss"].drop_duplicates() if loss not in set(frame["loss"])]
    uncounted = int(((trials["ending"] == "full") & trials["miou"].isna()).sum())
    parts = []
    if absent:
        parts.append(f"dev has none of {', '.join(absent)}")
    if losses:
        parts.append(f"no trial of {', '.join(loss_titles(losses).values())} ran so long and has counts")
    if uncounted:
        parts.append(f"{uncounted} full-length {'trial has' if uncounted == 1 else 'trials have'} no counts by image")
    return f" (left out: {'; '.join(parts)})" if parts else ""


def _alt(frame: pd.DataFrame, names: dict[str, str], n_equal: int) -> str:
    ious = frame[frame["metric"] == "iou"]
    numbers = "; ".join(
        f"{name}: " + ", ".join(f"{names[r['loss']]} {short(r['expected_best'])}" for r in rows.to_dict("records"))
        for name, rows in ious.groupby("class", sort=False)
    )
    columns = "one loss" if len(names) == 1 else f"each of {len(names)} losses"
    return (
        f"Three heat maps (IoU, recall, precision; best of {n_equal}) with a row for each of {ious['class'].nunique()} "
        f"classes, things first, and a column for {columns}. IoU: {numbers}."
    )
