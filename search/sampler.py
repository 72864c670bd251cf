"""Optuna's TPE as a pure function: from what is known so far to the next point.

A study is built anew for each suggestion. It costs milliseconds, and it leaves no state that could differ from the
record: after a crash, an extension or a move to another machine the sampler knows what it would have known.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.space import Space, Value, suggest
from trainable.trial_record import TrialSnapshot

MAX_OBSERVATIONS: Final = 1000
"""TPE's cost grows with its observations: 7 ms at 100, 33 ms at 1,000, 204 ms at 5,000."""

_BEST_KEPT: Final = 100
"""Beyond the limit the best stay, TPE's good group is drawn from them, and the latest fill the rest."""

_STATES: Final = {
    "completed": TrialState.COMPLETE,
    "diverged": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "unfinished": TrialState.RUNNING,
}


@dataclass(frozen=True)
class Observation:
    """What the sampler knows of a trial.

    Attributes:
        params: The searched values by flat key.
        state: completed, pruned, diverged, failed or unfinished.
        values: Running best of the objective after each epoch.
    """

    params: dict[str, Value]
    state: str
    values: tuple[float, ...]

    @staticmethod
    def of(trial: TrialSnapshot) -> "Observation":
        """The observation that a trial's record amounts to."""
        return Observation(trial.card.params, trial.state, tuple(epoch.objective for epoch in trial.epochs))


def suggest_point(space: Space, observations: Sequence[Observation], seed: int, number: int) -> dict[str, Value]:
    """The next point to try.

    Args:
        space: What is searched.
        observations: All trials so far; unfinished ones keep the sampler away from their place (constant liar).
        seed: Of the search.
        number: The suggestion's number: each has random numbers of its own, whatever launch it falls into.

    Returns:
        All values that exist at the point, by flat key, the fixed ones included.
    """
    study = optuna.create_study(direction="maximize", sampler=_sampler(seed, number))
    study.add_trials([frozen_trial(space, observation) for observation in _limited(observations)])
    return suggest(study.ask(), space)


def frozen_trial(space: Space, observation: Observation) -> FrozenTrial:
    """An observation as Optuna's own record of a trial."""
    fixed = optuna.trial.FixedTrial(dict(observation.params))
    suggest(fixed, space)
    state = _STATES[observation.state]
    if state == TrialState.PRUNED and not observation.values:
        state = TrialState.FAIL
    return create_trial(
        state=state,
        value=_final_value(observation) if state == TrialState.COMPLETE else None,
        params=fixed.params,
        distributions=fixed.distributions,
        intermediate_values=dict(enumerate(observation.values, start=1)),
    )


def _final_value(observation: Observation) -> float:
    return observation.values[-1] if observation.state == "completed" else 0.0


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        # group, multivariate and constant_liar are marked experimental; they have kept their meaning since Optuna 2.8.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=(seed * 1_000_003 + number) % 2**32, multivariate=True, group=True, constant_liar=True
        )


def _limited(observations: Sequence[Observation]) -> Sequence[Observation]:
    if len(observations) <= MAX_OBSERVATIONS:
        return observations
    ranked = sorted(range(len(observations)), key=lambda place: max(observations[place].values, default=0.0))
    best = set(ranked[-_BEST_KEPT:])
    latest = [place for place in range(len(observations)) if place not in best][-(MAX_OBSERVATIONS - len(best)) :]
    return [observations[place] for place in sorted([*best, *latest])]
