"""The plate of hyperparameter importance."""

from typing import Final

import pandas as pd

from analysis.recorded.loss_trials import ending_of
from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.importance.figure import draw_importance
from analysis.subjects.importance.table import (
    FEWEST_TRIALS,
    RESAMPLES,
    SHUFFLES,
    describe_importance,
    left_out,
    tabulate_importance,
    tabulate_tried,
)
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, listed, short

IMPORTANCE: Final = "Hyperparameter importance"


def importance_plate(search: RecordedSearch) -> Plate:
    """Make the plate of hyperparameter importance.

    Raises:
        Unavailable: There are too few trials, or fewer than two parameters were searched.
    """
    tried = tabulate_tried(search)
    missing = left_out(tried)
    frame = tabulate_importance(tried)
    if frame.empty:
        raise Unavailable(
            f"Importance needs {FEWEST_TRIALS} trials that ended with a score, and two parameters of several values "
            f"each; without it: {'; '.join(missing)}. Continue the search with more trials "
            "(budget.trials), or search more parameters."
        )
    titles = {str(group): _title_of(rows) for group, rows in frame.groupby("group", sort=False)}
    return Plate(
        key="hyperparameter_importance",
        title=IMPORTANCE,
        shows=_shows(search, tried, missing),
        says=describe_importance(frame),
        alt=_alt(frame, titles),
        table=frame,
        draw=lambda palette: draw_importance(frame, titles),
    )


def _title_of(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    which = f"trials with {_last_names(first['group'])} ({first['losses']})" if first["group"] else "all trials"
    return f"{which}: n = {first['trials']}, objective at epoch {first['epoch']}"


def _last_names(names: str) -> str:
    return listed([name.rpartition(".")[2] for name in names.split(", ")])


def _shows(search: RecordedSearch, tried: pd.DataFrame, missing: list[str]) -> str:
    diverged = sum(ending_of(trial, search.max_epochs) == "diverged" for trial in search.trials)
    epoch = int(tried["epoch"].iloc[0])
    reached = f"of {search.max_epochs}, the last that all {len(tried)} trials reached"
    aside = [f"{counted(diverged, 'trial')} that diverged"] if diverged else []
    return (
        f"How much of the differences in {metric_title(search.objectives[0])} on dev at epoch {epoch} ({reached}) each "
        "hyperparameter accounts for by itself (fANOVA, numbers by rank): longer bars matter more, dark lines are 5 % "
        f"to 95 % of {RESAMPLES} bootstrap resamples of the trials, and a bar that does not pass the dashed line, the "
        f"most that any had in {SHUFFLES} shuffles of the objective, is no more than chance"
        + (f"; left out: {'; '.join([*missing, *aside])}." if missing or aside else ".")
    )


def _alt(frame: pd.DataFrame, titles: dict[str, str]) -> str:
    parts = []
    for group, title in titles.items():
        rows = frame[frame["group"] == group]
        values = ", ".join(
            f"{row['parameter']} {short(row['importance'], 2)} ({short(row['low'], 2)} to {short(row['high'], 2)})"
            for row in rows.to_dict("records")
        )
        parts.append(f"{title}: {values}; chance gives {short(rows['noise'].iloc[0], 2)} at most.")
    return "Horizontal bars, hyperparameters on the vertical axis, importance from 0 to 1 across. " + " ".join(parts)
