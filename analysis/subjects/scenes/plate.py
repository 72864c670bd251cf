"""Plates of the scenes: how the candidate and its reference do in each, and which scenes a gain comes from."""

from collections.abc import Sequence
from typing import Final

import pandas as pd

from analysis.findings.compared_pair import Pair, compared_pair, first_side
from analysis.findings.compared_side import NothingToCompare, Side
from analysis.findings.dev_findings import UNCONFIRMED
from analysis.findings.pair_claims import claim
from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.palette import loss_colors
from analysis.subjects.plate import Plate, Unavailable
from analysis.subjects.scenes.figure import MOST_ROWS, draw_gains, draw_scores
from analysis.subjects.scenes.table import (
    describe_gains,
    describe_scores,
    mean_scores,
    tabulate_gains,
    tabulate_scores,
    worst_scenes,
)
from analysis.words.number_words import counted, interval, sentence, short, signed

SCORES: Final = "Scores by scene"
GAINS: Final = "Which scenes the gain comes from"

_GREY: Final = "#5f5f5f"
"""The reference's colour where both sides have the same loss."""


def scene_scores_plate(search: RecordedSearch) -> Plate:
    """The mIoU and thing mIoU of each scene, of the candidate and its reference.

    Raises:
        Unavailable: There is no counted trial, or only one scene.
    """
    sides, split = _sides(search)
    scores = tabulate_scores([*sides.items()])
    order = [str(scene) for scene in worst_scenes(scores).index]
    _need_scenes(len(order), split)
    labels = {role: f"{role}: {side.title} ({side.trial_id})" for role, side in sides.items()}
    colors = _colors(sides)
    says = describe_scores(scores, split)
    return Plate(
        key="scene_scores",
        title=SCORES,
        shows=_shows_scores(sides, split, len(order)),
        says=f"{says} {sentence(UNCONFIRMED)}" if says and split == "dev" else says,
        alt=_alt_scores(scores, order, split, labels),
        table=scores,
        draw=lambda palette: draw_scores(scores, order, labels, colors),
    )


def scene_gains_plate(search: RecordedSearch) -> Plate:
    """Each scene's gain, and the overall difference without it.

    Raises:
        Unavailable: There are no two counted configurations, or they share only one scene.
    """
    try:
        pair = compared_pair(search)
        gains = tabulate_gains(pair)
    except NothingToCompare as reason:
        raise Unavailable(str(reason)) from reason
    except ValueError as error:
        raise Unavailable(f"The two configurations did not see the same images: {error}") from error
    _need_scenes(len(gains), pair.split)
    color = loss_colors([pair.candidate.loss])[pair.candidate.loss]
    says = describe_gains(gains, _interval(pair, search.relevant_gain))
    return Plate(
        key="scene_gains",
        title=GAINS,
        shows=(
            f"Left, how much higher the mIoU of {pair.candidate.title} ({pair.candidate.trial_id}) is than that of "
            f"{pair.role} ({pair.reference_words}) in each scene of {pair.split}; right, the overall difference when "
            f"that scene is left out (dashed: with all scenes), which shows whether one scene carries it. The scenes "
            f"that carry most of a gain are at the bottom.{_cut(len(gains))}{_means(pair)}"
        ),
        says=f"{says} {sentence(UNCONFIRMED)}" if says and pair.split == "dev" else says,
        alt=_alt_gains(gains, pair),
        table=gains,
        draw=lambda palette: draw_gains(gains, color),
    )


def _sides(search: RecordedSearch) -> tuple[dict[str, Side], str]:
    """The candidate and, where there is one, the reference, by role, with their split."""
    try:
        side, split = first_side(search)
    except NothingToCompare as reason:
        raise Unavailable(str(reason)) from reason
    try:
        pair = compared_pair(search)
    except NothingToCompare:
        return {"candidate": side}, split
    if pair.split != split:  # a single configuration was confirmed: it has nothing to stand beside on val
        return {"candidate": side}, split
    return {"candidate": pair.candidate, "reference": pair.reference}, split


def _need_scenes(number: int, split: str) -> None:
    if number < 2:
        raise Unavailable(
            f"It takes two scenes of {split} to compare scenes; there {'is one' if number else 'are none'}. If the "
            "images are of several scenes, say what a scene is (scene_regex in the data set's description)."
        )


def _colors(sides: dict[str, Side]) -> dict[str, str]:
    of_losses = loss_colors([side.loss for side in sides.values()])
    colors = {role: of_losses[side.loss] for role, side in sides.items()}
    if len(set(colors.values())) < len(colors):
        colors["reference"] = _GREY
    return colors


def _interval(pair: Pair, relevant_gain: float) -> str:
    """The interval of the difference in mIoU, on val; dev, which both were tuned on, has none."""
    if pair.split == "dev":
        return ""
    found = claim(pair, "miou", relevant_gain)
    return interval(found.low, found.high)


def _means(pair: Pair) -> str:
    seeds = max(len(pair.candidate.runs), len(pair.reference.runs))
    return " All are means over seeds." if seeds > 1 else ""


def _shows_scores(sides: dict[str, Side], split: str, scenes: int) -> str:
    several = any(len(side.runs) > 1 for side in sides.values())
    dots = "large points are means over seeds, small ones single seeds" if several else "one network each"
    of_whom = "" if len(sides) == 1 else " of the candidate"
    who = "the configuration" if len(sides) == 1 else "the candidate (filled) and its reference (hollow)"
    return (
        f"Each row is a scene of {split}, the one with the lowest mIoU{of_whom} "
        f"at the top, with the scores of {who} on that scene alone ({dots}); a scene without things has no thing mIoU."
        f"{_cut(scenes)}"
    )


def _cut(scenes: int) -> str:
    """That not all scenes have a row."""
    if scenes <= MOST_ROWS:
        return ""
    return f" Of {scenes} scenes the first and the last have a row; all are points of the strips below (tick: median)."


def _alt_scores(scores: pd.DataFrame, order: Sequence[str], split: str, labels: dict[str, str]) -> str:
    means = mean_scores(scores)["miou"]
    parts = [
        f"{labels[role]}: mIoU from {short(float(means[role].min()))} to {short(float(means[role].max()))}, median "
        f"{short(float(means[role].median()))}"
        for role in labels
    ]
    return (
        f"Dot plot of {counted(len(order), 'scene')} of {split}; x: mIoU and thing mIoU of the scene, y: scenes, worst "
        f"first ({order[0]}) to best ({order[-1]}). {'; '.join(parts)}."
    )


def _alt_gains(gains: pd.DataFrame, pair: Pair) -> str:
    return (
        f"Dot plot of {counted(len(gains), 'scene')} of {pair.split}; left: gain in mIoU of {pair.candidate.trial_id} "
        f"over {pair.reference.trial_id} by scene, from {signed(float(gains['gain'].min()))} to "
        f"{signed(float(gains['gain'].max()))}; right: overall difference without each scene, from "
        f"{signed(float(gains['without'].min()))} to {signed(float(gains['without'].max()))}, "
        f"{signed(float(gains['overall'].iloc[0]))} with all."
    )
