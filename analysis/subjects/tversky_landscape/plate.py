"""The Tversky loss's parameters and what they brought."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.plate import Plate, Unavailable
from analysis.subjects.tversky_landscape.figure import draw_tversky
from analysis.subjects.tversky_landscape.table import (
    REFERENCE_POINTS,
    count_compounds,
    describe_tversky,
    tabulate_tversky,
)
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, short

TVERSKY: Final = "The Tversky landscape"


def tversky_plate(search: RecordedSearch) -> Plate:
    """The objective of every Tversky, Dice and IoU trial over alpha and beta, and over gamma.

    Raises:
        Unavailable: No Tversky trial has a score.
    """
    frame = tabulate_tversky(search)
    _check_scored(frame, count_compounds(search))
    drawn = frame[frame["objective"].notna() | (frame["ending"] == "diverged")].reset_index(drop=True)
    title = metric_title(search.objectives[0])
    left_out = _left_out(frame, count_compounds(search))
    note = "; ".join([*left_out, *_confounded(drawn)])
    return Plate(
        key="tversky_landscape",
        title=TVERSKY,
        shows=_shows(title, note),
        says=describe_tversky(drawn, search.objectives[0], search.relevant_gain),
        alt=_alt(drawn, title),
        table=drawn,
        draw=lambda _: draw_tversky(drawn, REFERENCE_POINTS, title, search.max_epochs, note),
    )


def _check_scored(frame: pd.DataFrame, compounds: int) -> None:
    tversky = frame[frame["loss"] == "tversky"]
    if tversky.empty:
        within = f" ({compounds} had a Tversky term within a compound loss, which is another loss)" if compounds else ""
        raise Unavailable(
            f"No trial of this search used the Tversky loss{within}, so there is nothing to draw over its parameters. "
            "Add tversky to space.loss.name, with ranges for space.loss.alpha, beta and gamma."
        )
    if tversky["objective"].isna().all():
        endings = ", ".join(f"{count} {_WORDS[ending]}" for ending, count in tversky["ending"].value_counts().items())
        raise Unavailable(
            f"None of the {len(tversky)} Tversky trials has a score ({endings}), so there is nothing to draw over its "
            "parameters. Let the search go on, or see why they ended."
        )


_WORDS: Final[Mapping[object, str]] = {"diverged": "diverged", "failed": "failed", "unended": "not ended"}


def _left_out(frame: pd.DataFrame, compounds: int) -> list[str]:
    """Trials that the figure does not have, and why."""
    scoreless = frame[frame["objective"].isna() & (frame["ending"] != "diverged")]
    parts = []
    if compounds:
        parts.append(f"{counted(compounds, 'trial')} with a Tversky term in a compound loss left out: another loss")
    if len(scoreless):
        parts.append(f"{counted(len(scoreless), 'trial')} without a score left out")
    return parts


def _confounded(drawn: pd.DataFrame) -> list[str]:
    """What else differs between the points."""
    models = drawn["model"].drop_duplicates()
    parts = [f"points are of {len(models)} models, which move the objective as well"] if len(models) > 1 else []
    if ((drawn["gamma_on"] == "mean") & (drawn["gamma"] != 1)).any():
        count = int(((drawn["gamma_on"] == "mean") & (drawn["gamma"] != 1)).sum())
        parts.append(f"in {counted(count, 'trial')} gamma is the exponent of the mean over classes")
    return parts


def _shows(title: str, note: str) -> str:
    return (
        f"Left, each point is a trial, placed by how its loss weighs false negatives (alpha) against false positives "
        f"(beta), and coloured by its {title} on dev; right, the same trials by the exponent gamma; hollow points did "
        f"not train to the end, so that their values are not comparable, and where points coincide the best lies on top"
        f"{f' ({note})' if note else ''}."
    )


def _alt(drawn: pd.DataFrame, title: str) -> str:
    scored = drawn[drawn["objective"].notna()].sort_values("objective", ascending=False, kind="stable")
    best, worst = scored.iloc[0], scored.iloc[-1]
    counts = {word: int((drawn["ending"] == ending).sum()) for ending, word in _ALT_ENDINGS.items()}
    endings = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return (
        f"Two scatter plots of {counted(len(drawn), 'trial')} ({endings}): beta over alpha coloured by {title}, and "
        f"{title} over gamma coloured by alpha / (alpha + beta). Highest {title} {_point(best)}; lowest "
        f"{_point(worst)}. Dice (.5, .5), IoU (1, 1) and the Tversky baseline (.7, .3) are marked on the left."
    )


_ALT_ENDINGS: Final = {
    "full": "full length",
    "early": "stopped early",
    "unended": "not ended",
    "diverged": "diverged",
}


def _point(row: "pd.Series[float]") -> str:
    numbers = ", ".join(f"{key} {row[key]:.2f}" for key in ("alpha", "beta", "gamma"))
    return f"{short(row['objective'])} at {numbers} ({row['trial_id']})"
