"""What is better than what: the ranking by the first objective, and the front of the best trade-offs of several."""

from collections.abc import Iterable, Sequence
from typing import Final

from trainable.config.objectives import is_minimised
from trainable.record.record_types import TrialSnapshot

UNSOUND: Final = ("failed", "diverged")
"""States of trials that are not ranked."""


def is_ranked(trial: TrialSnapshot) -> bool:
    """Whether a trial has an objective to be ranked by: one that failed or diverged has not, whatever it reached."""
    return trial.objective is not None and trial.state not in UNSOUND


def ranked(trials: Iterable[TrialSnapshot]) -> list[TrialSnapshot]:
    """The best trial first, by the first objective; the earlier suggestion of equals; the unranked are left out."""
    return sorted(filter(is_ranked, trials), key=rank_key)


def rank_key(trial: TrialSnapshot) -> tuple[float, int]:
    """What ranked trials are sorted by, ascending."""
    return -(trial.objective or 0.0), trial.spec.number


def measured_values(trial: TrialSnapshot, objectives: Sequence[str]) -> tuple[float | None, ...]:
    """Each objective as it was measured, or None where it was not.

    Args:
        trial: The first objective is its running best, the others are taken at the same epoch: they describe one
            network, the one whose weights are kept.
        objectives: Names of recorded metrics, at least one.
    """
    metrics = trial.best.metrics if trial.best else {}
    return (trial.objective, *(metrics.get(name) for name in objectives[1:]))


def objective_values(trial: TrialSnapshot, objectives: Sequence[str]) -> tuple[float, ...] | None:
    """A value of each objective, or None for a trial that cannot be compared.

    A recall or an IoU that was not measured counts as 0. What is minimised has no such value: 0 would be its best.

    Args:
        trial: As for `measured_values`.
        objectives: As for `measured_values`.
    """
    if not trial.epochs:
        return None
    values: list[float] = []
    for name, value in zip(objectives, measured_values(trial, objectives), strict=True):
        if value is None and is_minimised(name):
            return None
        values.append(0.0 if value is None else value)
    return tuple(values)


def pareto_front(trials: Iterable[TrialSnapshot], objectives: Sequence[str]) -> set[str]:
    """Ids of the trials that no other beats in one objective without losing in another.

    Only trials that ran their full length are compared: one that was stopped early has few false alarms, because it
    does not find anything yet.

    Args:
        trials: In any order.
        objectives: As for `measured_values`.
    """
    ids, rows = [], []
    for trial in trials:
        values = objective_values(trial, objectives) if trial.state == "completed" else None
        if values is not None:
            ids.append(trial.spec.trial_id)
            rows.append(values)
    return {trial_id for trial_id, best in zip(ids, non_dominated(rows, objectives), strict=True) if best}


def non_dominated(rows: Sequence[Sequence[float]], objectives: Sequence[str]) -> list[bool]:
    """For each row whether it is on the front; see `trainable.measure.pareto_front.non_dominated`.

    Args:
        rows: Finite values of each objective.
        objectives: Their names, which say what is better.
    """
    # Here, because a search says its first line before numpy, a heavy import, is there.
    from trainable.measure.pareto_front import non_dominated as on_front

    signs = [-1.0 if is_minimised(name) else 1.0 for name in objectives]
    gains_NK = [[sign * value for sign, value in zip(signs, row, strict=True)] for row in rows]
    return on_front(gains_NK).tolist() if gains_NK else []
