"""What the comparison of losses says, in sentences; none where the numbers support none."""

from collections.abc import Hashable, Mapping
from typing import Any, Final

import pandas as pd

from analysis.subjects.losses_compared.table import DROPPED
from analysis.words.configuration_words import loss_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, listed, short, shortened

LEAST_TRIALS: Final = 3
"""Of a loss whose lead is spoken of; the spread of two trials says next to nothing."""

_MOST: Final = 3
"""Sentences' worth of classes; the rest is counted."""

_LONGEST_TITLE: Final = 24
"""Characters of a loss beside a figure."""

CAUTION: Final = "Each trial is one training run, scored on the split that the search tuned on: weak evidence."


def loss_titles(losses: list[str]) -> dict[str, str]:
    """Names of losses for a figure; of the user's own the class alone, cut to what fits, where that is no other's."""
    titles = {loss: shortened(loss_title(loss), _LONGEST_TITLE) for loss in losses}
    names = list(titles.values())
    return {loss: name if names.count(name) == 1 else loss for loss, name in titles.items()}


def describe_losses(compared: pd.DataFrame, objective: str, relevant_gain: float) -> str:
    """Say which loss leads, in the objective and on things, where the lead exceeds the spreads of both added up.

    Both need `LEAST_TRIALS` full-length trials, and the lead must be one that would matter.

    Args:
        compared: As of `analysis.subjects.losses_compared.table.compare_losses`.
        objective: Name of the objective.
        relevant_gain: The least difference that would matter.
    """
    full = compared[compared["comparison"] == "full"]
    metrics = ["objective"] if objective == "thing_miou" else ["objective", "thing_miou"]
    leads = [_lead(full[full["metric"] == metric], metric_title(objective), relevant_gain) for metric in metrics]
    said = [lead for lead in leads if lead]
    return " ".join([*said, CAUTION]) if said else ""


def _lead(rows: pd.DataFrame, objective: str, relevant_gain: float) -> str:
    """The leader of one metric and its lead, or nothing."""
    ranked = rows[rows["expected_best"].notna()].sort_values("expected_best", ascending=False, kind="stable")
    if len(ranked) < 2:
        return ""
    first, second = ranked.to_dict("records")[:2]
    gap = first["expected_best"] - second["expected_best"]
    spreads = first["expected_best_std"] + second["expected_best_std"]
    if min(first["trials"], second["trials"]) < LEAST_TRIALS or gap < relevant_gain or not gap > spreads:
        return ""
    names = loss_titles(ranked["loss"].tolist())
    title = objective if first["metric"] == "objective" else metric_title(first["metric"])
    return (
        f"On dev, {names[first['loss']]} has the highest expected {title} of the best of {first['n_equal']} "
        f"full-length {'trial' if first['n_equal'] == 1 else 'trials'}, {_spread(first)}; next is "
        f"{names[second['loss']]} with {_spread(second)}, {short(gap)} lower."
    )


def _spread(row: Mapping[Hashable, Any]) -> str:
    numbers = f"{short(row['expected_best'])} \N{PLUS-MINUS SIGN} {short(row['expected_best_std'])}"
    return f"{numbers} (of {counted(int(row['trials']), 'trial')})"


def describe_dropped(dropped: pd.DataFrame) -> str:
    """Say which thing classes a loss never finds and another does.

    Args:
        dropped: As of `analysis.subjects.losses_compared.table.find_dropped`.
    """
    if dropped.empty:
        return ""
    names = loss_titles(sorted({*dropped["loss"], *dropped["found_by"]}))
    parts = []
    for name, rows in list(dropped.groupby("class", sort=False))[:_MOST]:
        losers = listed([f"{names[r['loss']]} ({counted(r['trials'], 'trial')})" for r in rows.to_dict("records")])
        found = rows.iloc[0]
        parts.append(
            f"{losers} never {'finds' if len(rows) == 1 else 'find'} {name}, and {names[found['found_by']]} reaches "
            f"{short(found['found'])} ({found['found_in']})"
        )
    more = dropped["class"].nunique() - len(parts)
    rest = f"; {more} more such {'class' if more == 1 else 'classes'} in the table" if more else ""
    return f"By IoU on dev (never: below {short(DROPPED).rstrip('0')}), {'; '.join(parts)}{rest}. {CAUTION}"
