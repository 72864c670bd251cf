"""A table for a paper: the best configuration of each loss by dev, with its scores on val over seeds.

Val chooses no row and no order. Of a search that was not confirmed the numbers are those of dev, one run each, and the
caption says so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from analysis.evidence.scene_bootstrap import MeanInterval, interval_of_mean
from analysis.findings.compared_pair import confirmed_sides
from analysis.findings.compared_side import NothingToCompare, Side, dev_side
from analysis.findings.report_texts import PaperTable
from analysis.recorded.recorded_search import RecordedSearch
from analysis.words.configuration_words import architecture_title, loss_words, parameter_notes
from analysis.words.number_words import counted, listed, short

_HEADS: Final = {
    "miou": "mIoU",
    "thing_miou": "Thing mIoU",
    "thing_miss_rate": "Thing miss rate",
    "thing_false_alarms_per_image": "False alarms / image",
}

_FIXED: Final = ("Loss", "Model", "n", "Epochs")

_LATEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
)


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the table is made of.

    Attributes:
        sides: The configurations, the best by dev first.
        split: `val` or `dev`.
        left_out: What is not in it and why, a sentence each.
    """

    sides: list[Side]
    split: str
    left_out: list[str]


def paper_table(search: RecordedSearch) -> PaperTable | None:
    """Make the table; None where no trial has counts."""
    rows = _confirmed_rows(search) or _dev_rows(search)
    if not rows.sides:
        return None
    metrics, absent = _metrics(rows.sides[0])
    scores = {side.trial_id: [_score(side, name, rows.split) for name in metrics] for side in rows.sides}
    cells = pd.DataFrame(
        [[*_fixed(side, rows.sides), *(_cell(score) for score in scores[side.trial_id])] for side in rows.sides],
        columns=[*_FIXED, *map(_head, metrics)],
    )
    numbers = [_number(side, score, rows.split) for side in rows.sides for score in scores[side.trial_id]]
    return PaperTable(
        caption=_caption(search, rows, absent),
        cells=cells,
        latex=("" if rows.split == "val" else "% NOT CONFIRMED: dev scores, one training run each\n")
        + latex_table(cells),
        numbers=pd.DataFrame(numbers),
    )


def _confirmed_rows(search: RecordedSearch) -> _Rows | None:
    """The best confirmed configuration of each loss by dev; None where nothing was confirmed."""
    best: dict[str, Side] = {}
    for side in confirmed_sides(search):
        best.setdefault(side.loss, side)
    return _Rows(list(best.values()), "val", []) if best else None


def _dev_rows(search: RecordedSearch) -> _Rows:
    sides, without = [], []
    for trial in search.best_of_each_loss().values():
        try:
            sides.append(dev_side(trial))
        except NothingToCompare:
            without.append(trial.trial_id)
    left_out = [f"Left out, having no counts by image: {listed(without)}."] if without else []
    return _Rows(sides, "dev", left_out)


def _metrics(side: Side) -> tuple[list[str], list[str]]:
    """The metrics of the columns, and the thing classes that have none because they do not occur."""
    names = side.runs[0].class_names
    pixels = side.networks[0].pixels.sum(axis=0)
    present = [names[label] for label in side.things if pixels[label]]
    absent = [names[label] for label in side.things if not pixels[label]]
    of_things = ["thing_miou", *(f"iou/{name}" for name in present), *tuple(_HEADS)[2:]] if present else []
    return ["miou", *of_things], absent


def _score(side: Side, name: str, split: str) -> MeanInterval:
    """Mean, spread and interval of a metric. On dev, which the trial was tuned on, an interval would say too much."""
    score = interval_of_mean(side.networks, side.metric(name))
    if split == "val":
        return score
    none = math.nan
    return MeanInterval(
        name,
        score.value,
        none,
        none,
        score.level,
        1,
        none,
        score.scenes,
        "tuned on the split that is measured",
    )


def _head(metric: str) -> str:
    return _HEADS.get(metric, f"{metric.partition('/')[2]} IoU")


def _fixed(side: Side, sides: Sequence[Side]) -> list[str]:
    return [loss_words(side.trial.config), _model(side, sides), str(len(side.runs)), str(side.epochs)]


def _encoder(side: Side) -> str:
    return str(side.trial.config.get("model", {}).get("encoder", "?"))


def _model(side: Side, sides: Sequence[Side]) -> str:
    """The architecture, with its encoder where the rows do not share it."""
    architecture = architecture_title(side.trial.config)
    return architecture if len({_encoder(other) for other in sides}) == 1 else f"{architecture}, {_encoder(side)}"


def _cell(score: MeanInterval) -> str:
    """`.612 ± .011`; without a spread the mean alone, and a dash where there is no value."""
    decimals = 2 if "false_alarms" in score.metric else 3
    if math.isnan(score.value) or math.isnan(score.seed_sd):
        return short(score.value, decimals)
    return f"{short(score.value, decimals)} ± {short(score.seed_sd, decimals)}"


def _number(side: Side, score: MeanInterval, split: str) -> dict[str, object]:
    """A row of `PaperTable.numbers`."""
    return {
        "trial_id": side.trial_id,
        "loss": side.loss,
        "configuration": side.title,
        "split": split,
        "metric": score.metric,
        "n": score.seeds,
        "epochs": side.epochs,
        "mean": score.value,
        "sd": score.seed_sd,
        "low": score.low,
        "high": score.high,
        "level": score.level,
        "scenes": score.scenes,
        "why_no_interval": score.why_none or "",
        "run_ids": ";".join(side.run_ids),
    }


def _caption(search: RecordedSearch, rows: _Rows, absent: Sequence[str]) -> str:
    scenes, images = len(rows.sides[0].networks[0].names), len(rows.sides[0].runs[0].images)
    size = f"{rows.split} ({counted(scenes, 'scene')}, {counted(images, 'image')})"
    parts = [_confirmed_caption(rows, size) if rows.split == "val" else _dev_caption(rows, size)]
    if len({_encoder(side) for side in rows.sides}) == 1:
        parts.append(f"Encoder {_encoder(rows.sides[0])}.")
    parts += parameter_notes(side.trial.config for side in rows.sides)
    if absent:
        parts.append(f"{rows.split} has no {listed(absent)}.")
    lost = [f"{side.trial_id} {side.lost}" for side in rows.sides if side.lost]
    if lost:
        parts.append(f"Seeds that diverged or failed and are in no mean: {listed(lost)}.")
    return " ".join([*parts, *rows.left_out])


def _confirmed_caption(rows: _Rows, size: str) -> str:
    spread = any(len(side.runs) > 1 for side in rows.sides)
    shown = "mean ± standard deviation over n seeds" if spread else "one seed each, so that no spread is known"
    return f"The best configuration of each loss by its objective on dev, trained anew and measured on {size}: {shown}."


def _dev_caption(rows: _Rows, size: str) -> str:
    early = len({side.epochs for side in rows.sides}) > 1
    lengths = " The trials did not train equally long: see the epochs." if early else ""
    return (
        f"NOT CONFIRMED, not for a paper as it is: the best trial of each loss on {size}, one training run each, "
        f"ranked on the split that it was tuned on.{lengths}"
    )


def latex_table(cells: pd.DataFrame) -> str:
    r"""A `tabular` of booktabs; texts are escaped, and numbers set in math with `\pm`.

    Args:
        cells: Text by row and column, the columns that `paper_table` makes.
    """
    text = len(_FIXED[:2])
    head = " & ".join(_escaped(str(name)) for name in cells.columns)
    rows = [" & ".join([*map(_escaped, row[:text]), *map(_in_math, row[text:])]) for row in np.asarray(cells).tolist()]
    columns = "l" * text + "r" * (len(cells.columns) - text)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{head} \\", r"\midrule"]
    return "\n".join([*body, *(rf"{row} \\" for row in rows), r"\bottomrule", r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


def _in_math(text: str) -> str:
    number = text.replace("±", r"\pm")
    return "--" if text == "-" else f"${number}$"
