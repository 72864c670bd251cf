"""The curves of a search's losses: the best trial of each loss by epoch, and the pruned ones."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.words.configuration_words import configuration_words, loss_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import listed, short
from trainable.record.metric_names import MIOU

BEST: Final = "best of its loss"
PRUNED: Final = "pruned"

_COLUMNS: Final = (
    "loss", "role", "run_id", "trial_id", "configuration", "state", "epochs", "trials_of_loss", "epoch", "metric",
    "value", "best",
)  # fmt: skip


def shown_metrics(search: RecordedSearch) -> list[str]:
    """The metrics whose curves are shown: mIoU, and the first objective where it is another."""
    return list(dict.fromkeys([MIOU, search.objectives[0]]))


def tabulate_loss_curves(search: RecordedSearch) -> pd.DataFrame:
    """The curves of the best trial of each loss, and of its pruned trials.

    Returns:
        A row for each curve, metric and epoch, the best loss first, with the columns loss, role (`BEST` or `PRUNED`),
        run_id, trial_id, configuration (in words), state, epochs (of the trial), trials_of_loss (that ended with a
        score, among which it is the best), epoch, metric, value, best (whether the epoch is its best by the objective).
        Epochs without a finite value have no row.
    """
    counts = pd.Series([trial.loss for trial in search.ranked], dtype=object).value_counts()
    rows = []
    for loss, best in search.best_of_each_loss().items():
        others = [t for t in search.ranked if t.loss == loss and t.state == "pruned" and t is not best]
        for role, trial in [(BEST, best), *((PRUNED, other) for other in others)]:
            for metric in shown_metrics(search):
                rows += _rows_of(trial, metric, role, int(counts[loss]))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _rows_of(trial: RecordedTrial, metric: str, role: str, trials_of_loss: int) -> list[dict[str, object]]:
    """Rows of one curve."""
    curve = trial.history.reindex(columns=[metric])[metric].dropna()
    about = {
        "loss": trial.loss,
        "role": role,
        "run_id": trial.run_id,
        "trial_id": trial.trial_id,
        "configuration": configuration_words(trial.config),
        "state": trial.state,
        "epochs": trial.epochs,
        "trials_of_loss": trials_of_loss,
    }
    return [
        about | {"epoch": int(str(epoch)), "metric": metric, "value": value, "best": epoch == trial.best_epoch}
        for epoch, value in curve.items()
    ]


def losses_without_score(search: RecordedSearch) -> list[str]:
    """The losses of which no trial ended with a score, in words, ascending."""
    missing = {trial.loss for trial in search.trials} - {trial.loss for trial in search.ranked}
    return sorted(loss_title(loss) for loss in missing)


def describe_loss_curves(frame: pd.DataFrame, objective: str, max_epochs: int, relevant_gain: float) -> str:
    """Which loss's best trial scores highest, and by how much.

    Args:
        frame: As of `tabulate_loss_curves`.
        objective: The metric that is compared.
        max_epochs: Only trials of this length are compared.
        relevant_gain: The least difference that would matter.

    Returns:
        Empty where fewer than two losses have a trial of full length, or the best two are closer than the gain.
    """
    full = frame[(frame["role"] == BEST) & (frame["metric"] == objective) & (frame["epochs"] >= max_epochs)]
    best = full[full["best"]].sort_values(["value", "trial_id"], ascending=[False, True])
    if len(best) < 2 or best["value"].iloc[0] - best["value"].iloc[1] < relevant_gain:
        return ""
    leader, others = best.iloc[0], best.iloc[1:]
    by = [f"{_trial_words(row)} by {short(leader['value'] - row['value'])}" for row in others.to_dict("records")]
    return (
        f"On dev, the best {loss_title(leader['loss'])} trial ({leader['trial_id']}, {metric_title(objective)} "
        f"{short(leader['value'])}, best of {leader['trials_of_loss']}) scores above that of {listed(by)}. "
        f"It is one training run each, ranked on the split it was tuned on{_unequal(best['trials_of_loss'].tolist())}."
    )


def _trial_words(row: Mapping[Hashable, Any]) -> str:
    return f"{loss_title(str(row['loss']))} ({row['trial_id']}, best of {row['trials_of_loss']})"


def _unequal(trials: Sequence[int]) -> str:
    return ", and a loss with more trials had more chances" if len(set(trials)) > 1 else ""
