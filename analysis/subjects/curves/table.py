"""A trial's training curves as numbers, and what they say of it."""

import math
from typing import Final

import pandas as pd

from analysis.recorded.recorded_search import RecordedTrial
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, sentence, short
from trainable.record.metric_names import DEV_LOSS, MIOU, TRAIN_LOSS

LOSSES: Final = (TRAIN_LOSS, DEV_LOSS)

OVERFITTED: Final = 1.1
"""Dev loss of each of the last epochs, over its lowest, from which on we call it overfitting."""
_LAST_EPOCHS: Final = 3


def objective_of(trial: RecordedTrial) -> str:
    """The metric that chose the trial's best epoch: `miou`, `recall/person`."""
    return str(trial.config.get("objective", MIOU))


def scores_of(trial: RecordedTrial) -> list[str]:
    """The metrics whose curves are shown: mIoU, and the objective where it is another."""
    return list(dict.fromkeys([MIOU, objective_of(trial)]))


def tabulate_training(trial: RecordedTrial) -> pd.DataFrame:
    """A trial's losses and scores by epoch.

    Returns:
        A row for each epoch from 1 to the last with the columns run_id, trial_id, epoch, train_loss, dev_loss, miou,
        the objective where that is another metric, and best: whether it is the best epoch by the objective. NaN where a
        value was not recorded or is not finite. No row before the first epoch.
    """
    names = [*LOSSES, *scores_of(trial)]
    history = trial.history.reindex(index=range(1, trial.epochs + 1), columns=names)
    frame = history.where(history.abs() < math.inf).reset_index(drop=True)
    frame.insert(0, "run_id", trial.run_id)
    frame.insert(1, "trial_id", trial.trial_id)
    frame.insert(2, "epoch", range(1, len(frame) + 1))
    frame["best"] = (frame["epoch"] == trial.best_epoch) & frame[objective_of(trial)].notna()
    return frame


def describe_training(frame: pd.DataFrame, objective: str) -> str:
    """Where the objective was the highest, and whether the trial overfitted.

    Args:
        frame: As of `tabulate_training`.
        objective: The metric that chose the best epoch.

    Returns:
        Empty where fewer than two epochs have a score.
    """
    scored = frame[frame[objective].notna()]
    if len(scored) < 2 or not scored["best"].any():
        return ""
    best, last = scored[scored["best"]].iloc[0], scored.iloc[-1]
    title = metric_title(objective)
    if best["epoch"] == last["epoch"] != frame["epoch"].iloc[-1]:
        words = f"{title} on dev was highest in epoch {best['epoch']} ({short(best[objective])}), the last with a score"
    elif best["epoch"] == last["epoch"]:
        words = f"{title} on dev was highest in the last epoch ({last['epoch']}, {short(best[objective])}): a longer "
        words += "training might have gained more"
    else:
        words = f"{title} on dev was highest in epoch {best['epoch']} ({short(best[objective])}) and "
        words += f"{short(last[objective])} in the last, {last['epoch']}"
    return " ".join(part for part in (_capital(words, title), _describe_overfitting(frame)) if part)


def _capital(words: str, title: str) -> str:
    """A sentence; mIoU keeps its small m."""
    return words + "." if title == metric_title(MIOU) else sentence(words)


def _describe_overfitting(frame: pd.DataFrame) -> str:
    """A sentence where dev loss rose for good while train loss fell, else empty."""
    lossy = frame.dropna(subset=list(LOSSES))
    if len(lossy) <= _LAST_EPOCHS:
        return ""
    lowest, tail = lossy.iloc[int(lossy[DEV_LOSS].argmin())], lossy.iloc[-_LAST_EPOCHS:]
    rose = lowest[DEV_LOSS] > 0 and (tail[DEV_LOSS] >= OVERFITTED * lowest[DEV_LOSS]).all()
    if not rose or tail[TRAIN_LOSS].iloc[-1] >= lowest[TRAIN_LOSS]:
        return ""
    last = tail.iloc[-1]
    return (
        f"Dev loss was lowest in epoch {lowest['epoch']} ({_loss(lowest[DEV_LOSS])}) and has risen to "
        f"{_loss(last[DEV_LOSS])}, while train loss fell from {_loss(lowest[TRAIN_LOSS])} to "
        f"{_loss(last[TRAIN_LOSS])}: it overfits."
    )


def _loss(value: float) -> str:
    return f"{value:.3g}"


def describe_end(trial: RecordedTrial, max_epochs: int) -> str:
    """How a trial ended, and when: `completed, 30 epochs`, `pruned after 4 of 30 epochs`.

    Args:
        trial: Any.
        max_epochs: Epochs of a trial that is not stopped early; 0 if unknown.
    """
    if trial.state == "completed":
        return f"completed, {counted(trial.epochs, 'epoch')}"
    epochs = f"{trial.epochs} of {max_epochs} epochs" if max_epochs else counted(trial.epochs, "epoch")
    return f"{trial.state} after {epochs}"


def is_empty(frame: pd.DataFrame) -> bool:
    """Whether no epoch has a loss or an mIoU."""
    return not frame[[*LOSSES, MIOU]].notna().to_numpy().any()
