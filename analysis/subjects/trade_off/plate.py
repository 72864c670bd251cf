"""The plate of what finding more things costs."""

from typing import Final

import pandas as pd

from analysis.recorded.loss_trials import ending_of
from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.plate import Plate, Unavailable
from analysis.subjects.trade_off.figure import draw_trade_off
from analysis.subjects.trade_off.table import describe_trade_off, tabulate_trade_off
from analysis.words.configuration_words import loss_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, short

TRADE_OFF: Final = "What finding more things costs"

NO_THINGS: Final = (
    "The image set has no thing classes, and only things are objects. Mark the countable classes with `thing: true`."
)


def trade_off_plate(search: RecordedSearch) -> Plate:
    """Make the plate of recall against precision, and misses against false alarms.

    Raises:
        Unavailable: Fewer than two trials have a recall of things on dev.
    """
    require_things(search)
    counts = tabulate_trade_off(search)
    frame = counts[counts["thing_recall"].notna()].reset_index(drop=True)
    if len(counts) and frame.empty:
        raise Unavailable("Recall is of true pixels of things, and dev has none. Split the images otherwise.")
    if len(frame) < 2:
        raise Unavailable(
            f"A trade-off needs two trials that ended with recorded counts; {len(frame)} did. Continue the search, or "
            "run `aerosweep sync`."
        )
    names = {str(loss): loss_title(str(loss)) for loss in frame["loss"].unique()}
    return Plate(
        key="thing_trade_off",
        title=TRADE_OFF,
        shows=_shows(search, frame),
        says=describe_trade_off(frame),
        alt=_alt(frame),
        table=frame,
        draw=lambda palette: draw_trade_off(frame, names, _best(frame)),
    )


def require_things(search: RecordedSearch) -> None:
    """Check that there are thing classes, as far as is known.

    Raises:
        Unavailable: There are none.
    """
    if search.classes and not any(entry.thing for entry in search.classes):
        raise Unavailable(NO_THINGS)


def _best(frame: pd.DataFrame) -> str:
    """The best by the objective of those at full length, else of all."""
    full = frame[frame["ending"] == "full"]
    return str((full if len(full) else frame)["trial_id"].iloc[0])


def _shows(search: RecordedSearch, frame: pd.DataFrame) -> str:
    full, early = (int((frame["ending"] == ending).sum()) for ending in ("full", "early"))
    with_objects = not frame["thing_miss_rate"].isna().all()
    objects = "; right, missed objects against false alarms, where lower is better" if with_objects else ""
    ended = sum(ending_of(trial, search.max_epochs) in ("full", "early") for trial in search.trials)
    bare = ended - len(frame)
    lengths = [
        f"{full} of {search.max_epochs} epochs",
        f"{early} stopped early, hollow and on no front" if early else "",
        f"{counted(bare, 'trial')} without recorded counts left out" if bare else "",
    ]
    objective = metric_title(search.objectives[0])
    return (
        f"Each point is a trial on dev at its best epoch by {objective}: left, how much of the things' pixels it finds "
        "(recall) against how much of what it takes for a thing is one (precision), means over thing "
        f"classes{objects}; no full-length trial beats one on the line, whose ids stand where there is room, in both "
        f"({'; '.join(filter(None, lengths))})."
    )


def _alt(frame: pd.DataFrame) -> str:
    front = frame[frame["pixel_front"]].sort_values("thing_recall", ascending=False)
    points = ", ".join(
        f"{row['trial_id']} ({loss_title(row['loss'])}) {short(row['thing_recall'], 2)} and "
        f"{short(row['thing_precision'], 2)}"
        for row in front.to_dict("records")
    )
    return (
        f"Scatter plots of {len(frame)} trials coloured by loss: thing recall across and thing precision up; false "
        f"alarms an image across and miss rate up. Recall and precision on the front: {points or 'no trial'}."
    )
