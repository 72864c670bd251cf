"""Plates of curves over epochs: of one trial, of its classes, and of a search's losses."""

import math
import textwrap
from collections.abc import Sequence
from typing import Final

import pandas as pd

from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial, named_trial
from analysis.subjects.curves.class_figure import draw_class_iou
from analysis.subjects.curves.class_table import absent_classes, describe_class_iou, tabulate_class_iou
from analysis.subjects.curves.figure import draw_loss_curves, draw_training
from analysis.subjects.curves.loss_table import (
    BEST,
    describe_loss_curves,
    losses_without_score,
    shown_metrics,
    tabulate_loss_curves,
)
from analysis.subjects.curves.table import (
    LOSSES,
    describe_end,
    describe_training,
    is_empty,
    objective_of,
    scores_of,
    tabulate_training,
)
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.configuration_words import loss_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import listed, short
from trainable.data.image_set import LabelClass
from trainable.record.metric_names import DEV_LOSS, TRAIN_LOSS

_LOSS_TITLES: Final = {TRAIN_LOSS: "train loss", DEV_LOSS: "dev loss"}


def training_curves_plate(trial: RecordedTrial) -> Plate:
    """A trial's losses and scores by epoch.

    Raises:
        Unavailable: It has no epoch with a loss or an mIoU.
    """
    frame = tabulate_training(trial)
    if is_empty(frame):
        raise Unavailable(
            f"No training curves of {trial.trial_id}: no epoch of it has a loss or an mIoU; it is {trial.state}"
            f"{f' ({trial.reason})' if trial.reason else ''}. See its run in MLflow."
        )
    objective, missing = objective_of(trial), _missing_columns(frame)
    titles = {name: _LOSS_TITLES[name] for name in LOSSES} | {s: f"{metric_title(s)} on dev" for s in scores_of(trial)}
    box, end = _best_words(frame, scores_of(trial)), describe_end(trial, _max_epochs(trial))
    left_out = f"; not recorded, and so not drawn: {listed(missing)}" if missing else ""
    return Plate(
        key=f"training_curves_{trial.trial_id}",
        title=f"Training curves of {trial.trial_id}",
        shows=f"Losses (left axis, lower is better) and {_score_titles(trial)} (right axis, higher is better) after "
        f"each epoch of {named_trial(trial)} ({end}); the dotted line is the epoch of best "
        f"{metric_title(objective)}, whose weights are kept{left_out}.",
        says=describe_training(frame, objective),
        alt=f"Line chart over {len(frame)} epochs of {trial.trial_id}, {end}. {_ranges(frame, trial)} "
        f"{f'Best epoch: {box}.' if box else 'No epoch has a score.'}",
        table=frame,
        draw=lambda _: draw_training(frame, titles, box, _ended(trial)),
    )


def _max_epochs(trial: RecordedTrial) -> int:
    return int(trial.config.get("max_epochs") or 0)


def _score_titles(trial: RecordedTrial) -> str:
    return listed([f"{metric_title(score)} on dev" for score in scores_of(trial)])


def _missing_columns(frame: pd.DataFrame) -> list[str]:
    names = [name for name in frame.columns if name not in ("run_id", "trial_id", "epoch", "best")]
    return [_LOSS_TITLES.get(name, metric_title(name)) for name in names if frame[name].isna().all()]


def _best_words(frame: pd.DataFrame, scores: Sequence[str]) -> str:
    """`epoch 6   mIoU .775   dev loss .65`; empty where no epoch is the best."""
    if not frame["best"].any():
        return ""
    best = frame[frame["best"]].iloc[0]
    parts = [f"epoch {best['epoch']}"]
    parts += [f"{metric_title(score)} {short(best[score])}" for score in scores if not math.isnan(best[score])]
    return "   ".join(parts + ([] if math.isnan(best[DEV_LOSS]) else [f"dev loss {best[DEV_LOSS]:.3g}"]))


def _ended(trial: RecordedTrial) -> str:
    return f"{trial.state} here" if trial.state in ("pruned", "diverged", "failed", "interrupted") else ""


def _ranges(frame: pd.DataFrame, trial: RecordedTrial) -> str:
    """First and last value of each curve, in words."""
    parts = []
    for name in [*LOSSES, *scores_of(trial)]:
        values = frame[name].dropna()
        if len(values):
            title = _LOSS_TITLES.get(name, metric_title(name))
            parts.append(f"{title} from {values.iloc[0]:.3g} to {values.iloc[-1]:.3g}")
    return f"{', '.join(parts)}."


def class_iou_plate(trial: RecordedTrial, classes: Sequence[LabelClass]) -> Plate:
    """A trial's IoU by class and epoch.

    Args:
        trial: Any.
        classes: Of the image set, in label order.

    Raises:
        Unavailable: It has no epoch, or nobody knows its classes, or no class has an IoU.
    """
    if not trial.epochs or not classes:
        missing = "no trial recorded its classes" if trial.epochs else f"it has no epoch and is {trial.state}"
        raise Unavailable(f"No IoU by class of {trial.trial_id}: {missing}. Take a trial that completed.")
    frame = tabulate_class_iou(trial, classes)
    if frame.empty:
        raise Unavailable(
            f"No IoU by class of {trial.trial_id}: none was recorded in any of its {trial.epochs} epochs. See its run "
            "in MLflow."
        )
    absent = absent_classes(frame, classes)
    left_out = f"not drawn, as dev has no pixel of them: {', '.join(absent)}" if absent else ""
    return Plate(
        key=f"class_iou_{trial.trial_id}",
        title=f"IoU by class and epoch of {trial.trial_id}",
        shows=f"IoU on dev of each class (rows: things first, in bold, then stuff, each with its share of the dev "
        f"pixels) after each epoch (columns) of {named_trial(trial)}: the lighter, the better; at the right stand the "
        f"numbers of the best epoch{f'; {left_out}' if left_out else ''}.",
        says=describe_class_iou(frame),
        alt=_alt_class_iou(frame, trial, left_out),
        table=frame,
        draw=lambda _: draw_class_iou(frame, textwrap.fill(left_out, 95)),
    )


def _alt_class_iou(frame: pd.DataFrame, trial: RecordedTrial, left_out: str) -> str:
    best = frame[frame["best"]]
    numbers = ", ".join(f"{name} {short(iou)}" for name, iou in zip(best["class"], best["iou"], strict=True))
    return (
        f"Heat map of IoU on dev with {frame['class'].nunique()} classes as rows and {trial.epochs} epochs as columns. "
        f"In the best epoch, {trial.best_epoch}: {numbers}. {f'N{left_out[1:]}.' if left_out else ''}"
    ).strip()


def loss_curves_plate(search: RecordedSearch) -> Plate:
    """The best trial of each loss by epoch.

    Raises:
        Unavailable: No trial has ended with a score, or none recorded its mIoU.
    """
    frame = tabulate_loss_curves(search)
    best, faint = frame[frame["role"] == BEST], frame[frame["role"] != BEST]
    if best.empty:
        raise Unavailable(
            f"Curves need trials that ended with a score; none of the {len(search.trials)} has. Let the search go on, "
            "or see its failed trials."
        )
    objective = search.objectives[0]
    labels = {str(loss): _legend(curve, search.max_epochs) for loss, curve in best.groupby("loss", sort=False)}
    titles = {metric: metric_title(metric) for metric in shown_metrics(search) if (best["metric"] == metric).any()}
    return Plate(
        key="loss_curves",
        title="All losses over the epochs",
        shows=f"{' and '.join(titles.values())} on dev after each epoch, one curve for the best trial of each loss "
        f"(chosen by {metric_title(objective)}, among those that ran the full length where there are any; one training "
        f"run each){'; thin lines are pruned trials' if len(faint) else ''}{_left_out(search)}.",
        says=describe_loss_curves(frame, objective, search.max_epochs, search.relevant_gain),
        alt=f"Line chart over {search.max_epochs} epochs with {len(labels)} curves. {_alt_curves(best, objective)}",
        table=frame,
        draw=lambda _: draw_loss_curves(best, faint, labels, titles, search.max_epochs),
    )


def _legend(curve: pd.DataFrame, max_epochs: int) -> str:
    row = curve.iloc[0]
    short_run = f", {row['state']} after {row['epochs']} of {max_epochs} epochs" if row["epochs"] < max_epochs else ""
    of = f"best of {row['trials_of_loss']}" if row["trials_of_loss"] > 1 else "the only one"
    return textwrap.shorten(f"{row['trial_id']}: {row['configuration']} ({of}{short_run})", 110, placeholder=" ...")


def _left_out(search: RecordedSearch) -> str:
    missing = losses_without_score(search)
    return f"; left out, as no trial of it ended with a score: {listed(missing)}" if missing else ""


def _alt_curves(best: pd.DataFrame, objective: str) -> str:
    top = best[best["best"] & (best["metric"] == objective)]
    parts = [
        f"{loss_title(row['loss'])} ({row['trial_id']}, {row['epochs']} epochs) {short(row['value'])} in epoch "
        f"{row['epoch']}"
        for row in top.to_dict("records")
    ]
    return f"Best {metric_title(objective)}: {', '.join(parts)}." if parts else ""
