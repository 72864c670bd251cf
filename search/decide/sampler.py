"""Optuna's TPE as a pure function: from what is known so far to the next point.

A study is built anew for each suggestion. It costs milliseconds, and it leaves no state that could differ from the
record: after a crash, an extension or a move to another machine the sampler knows what it would have known.
"""

import copy
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.decide.asked_points import asked_points
from search.decide.ranking import measured_values, non_dominated
from search.decide.untried import UntriedPoints
from search.space.points import point_identity
from search.space.space import Space, Value, suggest
from trainable.config.metric_registry import metric_entry
from trainable.config.objectives import is_minimised
from trainable.record.record_types import TrialSnapshot

MAX_OBSERVATIONS: Final = 300
"""TPE's cost grows with its observations, and with 1,000 its suggestions were worse, not better: its good group has 25
trials at the most, however many the others are (measured: benchmarks/observation_limit.py)."""

_BEST_KEPT: Final = 100
"""Beyond the limit the best stay, TPE's good group is drawn from them, and the latest fill the rest."""

_STATES: Final = {
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.PRUNED,
    "unfinished": TrialState.RUNNING,
}
"""Optuna's TPE leaves out what is told as FAIL, and would suggest the place of a failure again and again. So a trial
that failed or diverged is told with a violated constraint: TPE ranks these after all others, the least violation first.
"""

_CONSTRAINT: Final = "trained to the end"
_VIOLATION_OF_DIVERGED: Final = 1.0
_VIOLATION_OF_FAILED: Final = 3.0

_WORST_SHARE: Final = 1.0
_WORST_COUNT: Final = 1e3
"""False alarms an image, where no trial has been measured yet."""


@dataclass(frozen=True)
class Observation:
    """What the sampler knows of a trial.

    Attributes:
        params: The searched values by flat key.
        state: completed, pruned, diverged, failed or unfinished.
        values: Running best of the first objective after each epoch.
        finals: Every objective at the best epoch, None for what was not measured; empty before the first epoch.
        trial_id: Its id, where it has one.
    """

    params: dict[str, Value]
    state: str
    values: tuple[float, ...]
    finals: tuple[float | None, ...] = ()
    trial_id: str = ""

    @staticmethod
    def of(trial: TrialSnapshot, objectives: Sequence[str] = ("miou",)) -> "Observation":
        """The observation that a trial's record amounts to.

        Args:
            trial: As it stands.
            objectives: Of the search.
        """
        values = tuple(epoch.objective for epoch in trial.epochs)
        finals = measured_values(trial, objectives) if trial.epochs else ()
        return Observation(trial.spec.params, trial.state, values, finals, trial.spec.trial_id)


class Sampler:
    """Suggests the points of a search; what Optuna is told of a trial that has ended is made once, and kept.

    Args:
        space: What is searched.
        seed: Of the search.
        objectives: Of the search; of several, TPE's good group are the best trade-offs.
    """

    def __init__(self, space: Space, seed: int, objectives: Sequence[str] = ("miou",)) -> None:
        self._space = space
        self._seed = seed
        self._objectives = objectives
        self._observed: dict[str, Observation] = {}
        self._told: dict[str, _ToldTrial] = {}
        self._worst: tuple[float, ...] = ()
        self._untried = UntriedPoints(space)

    def next_point(
        self, trials: Iterable[TrialSnapshot], number: int, tried: Collection[str] = frozenset()
    ) -> dict[str, Value]:
        """The next point to try.

        Args:
            trials: All so far, in the order of their suggestion; a trial that has ended does not change any more.
            number: Of the suggestion: each has random numbers of its own.
            tried: Identities (`search.space.points`) of points that are not to be suggested; others must be left.

        Returns:
            All values that exist at the point, by flat key, the fixed ones included.
        """
        observations = [self._observation(trial) for trial in trials]
        return self.point(observations, number, tried)

    def point(
        self, observations: Sequence[Observation], number: int, tried: Collection[str] = frozenset()
    ) -> dict[str, Value]:
        """The same from observations, for the suggestion `number`."""
        storage = InMemoryStorage()
        sampler = _sampler(self._seed, number)
        study = optuna.create_study(storage=storage, directions=directions(self._objectives), sampler=sampler)
        study_id = storage.get_study_id_from_name(study.study_name)
        for told in self._all_told(observations):
            storage.create_new_trial(study_id, told)  # not `study.add_trials`, which checks each again
        for point in asked_points(study, self._space, _seed_of(self._seed, number)):
            if not tried or point_identity(point) not in tried:
                return point
        return self._untried.draw(tried, _seed_of(self._seed, number))

    def _observation(self, trial: TrialSnapshot) -> Observation:
        trial_id = trial.spec.trial_id
        observation = self._observed.get(trial_id)
        if observation is None:
            observation = Observation.of(trial, self._objectives)
            if trial.end is not None:
                self._observed[trial_id] = observation
        return observation

    def _all_told(self, observations: Sequence[Observation]) -> list[FrozenTrial]:
        if len(self._objectives) == 1:
            return self._kept_told(_limited(observations), lambda each: frozen_trial(self._space, each))
        worst = worst_values(observations, self._objectives)
        if worst != self._worst:
            self._worst = worst
            self._told = {}
        kept = _limited_by_front(observations, self._objectives, worst)
        return self._kept_told(kept, lambda each: frozen_trial_of_several(self._space, each, worst))

    def _kept_told(
        self, observations: Sequence[Observation], make: Callable[[Observation], FrozenTrial]
    ) -> list[FrozenTrial]:
        all_told: list[FrozenTrial] = []
        kept: dict[str, _ToldTrial] = {}
        for observation in observations:
            told = self._told.get(observation.trial_id) or _ToldTrial.of(make(observation))
            all_told.append(told)
            if observation.trial_id and observation.state != "unfinished":
                kept[observation.trial_id] = told
        self._told = kept
        return all_told


class _ToldTrial(FrozenTrial):
    """Optuna's own record of a trial that many studies share: a study copies what it is told, here not in depth."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> "_ToldTrial":
        shared = cls.__new__(cls)
        vars(shared).update(vars(trial))
        return shared

    def __deepcopy__(self, memo: object) -> "_ToldTrial":
        return copy.copy(self)


def suggest_point(
    space: Space,
    observations: Sequence[Observation],
    seed: int,
    number: int,
    objectives: Sequence[str] = ("miou",),
) -> dict[str, Value]:
    """The next point to try.

    Args:
        space: What is searched.
        observations: All trials so far; unfinished ones keep the sampler away from their place (constant liar).
        seed: Of the search.
        number: The suggestion's number: each has random numbers of its own, whatever launch it falls into.
        objectives: Of the search; of several, TPE's good group are the best trade-offs.

    Returns:
        All values that exist at the point, by flat key, the fixed ones included.
    """
    return Sampler(space, seed, objectives).point(observations, number)


def directions(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    """The objectives as Optuna's directions."""
    return ["minimize" if is_minimised(name) else "maximize" for name in objectives]


def frozen_trial(space: Space, observation: Observation) -> FrozenTrial:
    """An observation of one objective as Optuna's own record of a trial."""
    values = [observation.values[-1]] if observation.state == "completed" else None
    return _create_trial(space, observation, values, _violation(observation), observation.values)


def frozen_trial_of_several(space: Space, observation: Observation, worst: Sequence[float]) -> FrozenTrial:
    """An observation of several objectives as Optuna's own record of a trial.

    Args:
        space: What is searched.
        observation: Of a trial.
        worst: What an objective that was not measured is told with.

    With several objectives Optuna has no pruning: its TPE raises where a pruned trial has intermediate values, since it
    could not order them. Told as complete, a trial that was stopped before it found anything would look good: it has no
    false alarms. It is told with a violated constraint instead, which ranks it as pruning does with one objective:
    after all that were completed, those that came further first, then those that reached more.
    """
    values = _final_values(observation, worst) if observation.state == "completed" else None
    violation = _violation_of_stopped(observation) if observation.state == "pruned" else _violation(observation)
    return _create_trial(space, observation, values, violation, ())


def _create_trial(
    space: Space,
    observation: Observation,
    values: list[float] | None,
    violation: float | None,
    intermediate_values: Sequence[float],
) -> FrozenTrial:
    # What was recorded of a parameter that does not exist at the point is not asked for, and so left out.
    fixed = optuna.trial.FixedTrial(dict(observation.params))
    suggest(fixed, space)
    return create_trial(
        state=_STATES[observation.state],
        values=values,
        params=fixed.params,
        distributions=fixed.distributions,
        intermediate_values=dict(enumerate(intermediate_values, start=1)),
        constraints=None if violation is None else {_CONSTRAINT: violation},
    )


def _violation(observation: Observation) -> float | None:
    """How far a trial that came to nothing is from one that came to its end; None for others."""
    if observation.state == "failed":
        return _VIOLATION_OF_FAILED
    if observation.state == "diverged":
        # Between that of a stopped trial and that of a failed one; the later it diverged, the nearer to a good place.
        return _VIOLATION_OF_DIVERGED + 1 / max(1, len(observation.values))
    return None


def _violation_of_stopped(observation: Observation) -> float:
    """Above 0 and at most 1: less the further it came, and of those that came as far the more it reached."""
    return 1 / (1 + len(observation.values) + max(observation.values[-1:], default=0.0))


def _final_values(observation: Observation, worst: Sequence[float]) -> list[float]:
    if not observation.finals:
        return list(worst)
    return [bad if value is None else value for value, bad in zip(observation.finals, worst, strict=True)]


def worst_values(observations: Sequence[Observation], objectives: Sequence[str]) -> tuple[float, ...]:
    """For each objective a value that cannot look good.

    0 for what grows, 1 for a share that falls (missed objects). Counts of false alarms have no upper end: the worst
    that has been seen, because a number far beyond would make all that was seen look alike to TPE's hypervolume.
    """
    return tuple(_worst(place, name, observations) for place, name in enumerate(objectives))


def _worst(place: int, name: str, observations: Sequence[Observation]) -> float:
    entry = metric_entry(name)
    if entry is None or not entry.lower_is_better:
        return 0.0
    if entry.is_share:
        return _WORST_SHARE
    seen = [value for each in observations if each.finals and (value := each.finals[place]) is not None]
    return max(seen, default=_WORST_COUNT)


def _sampler(seed: int, number: int) -> optuna.samplers.TPESampler:
    with warnings.catch_warnings():
        # group, multivariate and constant_liar are marked experimental; they have kept their meaning since Optuna 2.8.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=_seed_of(seed, number), multivariate=True, group=True, constant_liar=True
        )


def _seed_of(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number) % 2**32


def _limited(observations: Sequence[Observation]) -> Sequence[Observation]:
    if len(observations) <= MAX_OBSERVATIONS:
        return observations
    ranked = sorted(range(len(observations)), key=lambda place: _standing(observations[place]))
    return _best_and_latest(observations, ranked)


def _limited_by_front(
    observations: Sequence[Observation], objectives: Sequence[str], worst: Sequence[float]
) -> Sequence[Observation]:
    """The same for several objectives, where the front counts as the best, then the first objective."""
    if len(observations) <= MAX_OBSERVATIONS:
        return observations
    completed = [place for place, observation in enumerate(observations) if observation.state == "completed"]
    rows = [_final_values(observations[place], worst) for place in completed]
    front = {place for place, best in zip(completed, non_dominated(rows, objectives), strict=True) if best}
    ranked = sorted(range(len(observations)), key=lambda place: (place in front, _standing(observations[place])))
    return _best_and_latest(observations, ranked)


def _standing(observation: Observation) -> tuple[int, int, float]:
    """Grows with how good TPE is told that a trial was: those completed by their value, then the others as it has them.

    An unfinished trial is in no good group, and the latest are kept anyway.
    """
    last = max(observation.values[-1:], default=0.0)
    match observation.state:
        case "completed":
            return 4, 0, last
        case "pruned":
            return 3, len(observation.values), last
        case "diverged":
            return 2, len(observation.values), 0.0
        case "failed":
            return 1, 0, 0.0
    return 0, 0, 0.0


def _best_and_latest(observations: Sequence[Observation], ranked: Sequence[int]) -> Sequence[Observation]:
    """The best by `ranked` (places, the best last), and of the others those that run, then the latest; in their order.

    Of those that run TPE must know: it keeps away from their places.
    """
    best = set(ranked[-_BEST_KEPT:])
    others = [place for place in range(len(observations)) if place not in best]
    others.sort(key=lambda place: observations[place].state == "unfinished")
    return [observations[place] for place in sorted([*best, *others[-(MAX_OBSERVATIONS - len(best)) :]])]
