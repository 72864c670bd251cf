"""The losses of a search compared at equal effort."""

import textwrap
from collections.abc import Hashable, Mapping
from typing import Any, Final

import pandas as pd

from analysis.recorded.loss_trials import SCENE_METRICS, tabulate_trials
from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.losses_compared.figure import draw_losses
from analysis.subjects.losses_compared.sentences import describe_losses, loss_titles
from analysis.subjects.losses_compared.table import compare_losses, tabulate_endings, tabulate_points
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, short

LOSSES_COMPARED: Final = "Losses compared"

_ENDING_WORDS: Final = {
    "full": "full",
    "early": "early",
    "diverged": "diverged",
    "failed": "failed",
    "unended": "not ended",
}


def losses_compared_plate(search: RecordedSearch) -> Plate:
    """What the best of equally many trials of each loss is expected to score.

    Raises:
        Unavailable: No trial has a score, or all have the same loss.
    """
    trials = tabulate_trials(search)
    objective = search.objectives[0]
    compared = compare_losses(trials, objective)
    _check_comparable(trials, compared)
    points = tabulate_points(trials, compared)
    names = loss_titles(compared["loss"].drop_duplicates().tolist())
    endings = tabulate_endings(trials)
    labels = {loss: f"{name}\n{_endings(endings, loss)}" for loss, name in names.items()}
    return Plate(
        key="losses_compared",
        title=LOSSES_COMPARED,
        shows=_shows_losses(compared, _left_out(trials)),
        says=describe_losses(compared, objective, search.relevant_gain),
        alt=_alt_losses(compared, names, labels, objective),
        table=pd.concat([compared.assign(drawn="expected best"), points.assign(drawn="one trial")], ignore_index=True),
        draw=lambda _: draw_losses(compared, points, labels, _panel_titles(compared, objective)),
    )


def _check_comparable(trials: pd.DataFrame, compared: pd.DataFrame) -> None:
    losses = trials["loss"].drop_duplicates().tolist()
    if len(losses) == 1:
        raise Unavailable(
            f"Losses are compared where a search has two or more; this one has {losses[0]} alone. Name more in "
            "space.loss.name."
        )
    if compared.empty:
        raise Unavailable(
            f"Losses are compared by trials that ended with a score; none of the {len(trials)} has. Let the search go "
            "on, or see its failed trials."
        )


def _endings(endings: pd.DataFrame, loss: str) -> str:
    """How a loss's trials ended: `3 full, 1 early`."""
    counts = {word: int(endings[key][loss]) for key, word in _ENDING_WORDS.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _panel_titles(compared: pd.DataFrame, objective: str) -> dict[tuple[str, str], str]:
    """The panels from left to right, with their epochs and n."""
    kinds = compared.groupby(["comparison", "metric"], sort=False)[["epochs", "n_equal"]].max()
    places = sorted(kinds.index, key=lambda kind: kind[0] == "early")
    titles = {}
    for comparison, metric in places:
        epochs, n_equal = kinds.loc[(comparison, metric)]
        name = f"{metric_title(objective)} (objective)" if metric == "objective" else metric_title(metric)
        which = f"all trials, epoch {epochs}" if comparison == "early" else f"{epochs} epochs"
        titles[comparison, metric] = f"{textwrap.fill(name, 18)}\n{which}\nbest of {n_equal}"
    return titles


def _left_out(trials: pd.DataFrame) -> str:
    """What the full-length panels do not have, and why."""
    full = trials[trials["ending"] == "full"]
    uncounted = int(full["miou"].isna().sum())
    parts = []
    if uncounted:
        has = "has" if uncounted == 1 else "have"
        parts.append(f"{counted(uncounted, 'full-length trial')} {has} no counts by image, and so the objective alone")
    if uncounted < len(full):
        absent = [metric for metric in SCENE_METRICS if full[metric].isna().all()]
        parts += [f"no {metric_title(metric)}, since dev has no such class" for metric in absent]
    return f" (left out: {'; '.join(parts)})" if parts else ""


def _shows_losses(compared: pd.DataFrame, left_out: str) -> str:
    kinds = compared.drop_duplicates("comparison").set_index("comparison")
    parts = []
    if "full" in kinds.index:
        row = kinds.loc["full"]
        parts.append(f"of {row['n_equal']} drawn from its trials that ran all {row['epochs']} epochs")
    if "early" in kinds.index:
        row = kinds.loc["early"]
        last = "in the last panel the best " if parts else ""
        parts.append(f"{last}of {row['n_equal']} of all its trials by what they had reached in epoch {row['epochs']}")
    return (
        "For each loss (rows), diamonds are what the best trial, chosen by the objective, is expected to score on dev: "
        f"the best {', '.join(parts)} (so many the loss with the fewest has); dots are single trials, and below the "
        "loss's name stands how many ran the full length, were stopped early, diverged, failed or have not ended"
        f"{left_out}."
    )


def _alt_losses(compared: pd.DataFrame, names: dict[str, str], labels: dict[str, str], objective: str) -> str:
    rows = compared[compared["metric"] == "objective"].drop_duplicates("loss", keep="first")
    numbers = ", ".join(
        f"{names[row['loss']]} {_expected(row)} ({labels[row['loss']].partition(chr(10))[2]})"
        for row in rows.to_dict("records")
    )
    titles = _panel_titles(compared, objective)
    panels = "; ".join(title.replace("\n", " ") for title in titles.values())
    number = "one panel" if len(titles) == 1 else f"{len(titles)} panels"
    return (
        f"Dot plot with a row for each loss and {number} ({panels}). Expected best "
        f"{metric_title(objective)} in the first panel: {numbers}."
    )


def _expected(row: Mapping[Hashable, Any]) -> str:
    if not row["trials"]:
        return "no trial"
    spread = "no spread known" if row["trials"] == 1 else f"standard deviation {short(row['expected_best_std'])}"
    return f"{short(row['expected_best'])}, {spread}"
