"""The trials of a search: baselines first, then what the sampler suggests; ASHA stops the weak ones.

No point is trained twice: trials of a search share their seed, so that the second would be the first again.
"""

from collections.abc import Iterable, Mapping

from search.config.search_config import SearchConfig
from search.decide.plan import Ending, ended_by_epochs
from search.decide.rungs import Rungs
from search.decide.sampler import Sampler
from search.space.baselines import baseline_points
from search.space.points import SpacePoints, config_identity, point_identity
from search.space.space import Value, nested
from trainable.record.record_types import EpochRecord, TrialSnapshot, TrialSpec, now_ms, trial_name
from trainable.trial_config import TrialConfig


class SearchPlan:
    """Suggests a search's trials and judges them.

    Args:
        config: The search.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._config = config
        self._space = config.parsed_space
        self._points = SpacePoints(self._space)
        self._baselines = {point_identity(point): point for point in baseline_points(config.baselines, self._space)}
        self._identities: dict[str, str] = {}
        self._sampler = Sampler(self._space, config.seed, config.objectives)
        scheduler = config.scheduler
        self._rungs = Rungs(config.first_rung, scheduler.reduction_factor, config.budget.max_epochs)

    def total(self, known: Mapping[str, TrialSnapshot]) -> int:
        """The budget; less where the space has fewer points, more where an earlier launch had a larger budget."""
        budget = self._config.budget.trials
        if self._points.count < budget:
            budget = min(budget, len(known) + len(self._points.left(self._tried(known))))
        return max(budget, len(known))

    def next_spec(self, known: Mapping[str, TrialSnapshot], number: int) -> TrialSpec | None:
        """The next baseline or suggestion that no trial has; None when the budget or the space is spent."""
        if len(known) >= self.total(known):
            return None
        tried = self._tried(known)
        values = next((point for identity, point in self._baselines.items() if identity not in tried), None)
        baseline = values is not None
        if values is None:
            values = self._sampler.next_point(known.values(), number, tried)
        return TrialSpec(
            trial_id=trial_name(number),
            number=number,
            params=dict(self._space.searched(values)),
            config=trial_config(self._config, values).model_dump(mode="json"),
            baseline=baseline,
            created_ms=now_ms(),
        )

    def judges(self, epoch: int) -> bool:
        """At ASHA's rungs."""
        return epoch in self._rungs.milestones

    def _tried(self, known: Mapping[str, TrialSnapshot]) -> set[str]:
        """Identities of the points that have a trial, however it ended."""
        for trial_id, trial in known.items():
            if trial_id not in self._identities:
                self._identities[trial_id] = config_identity(trial.spec.config)
        return {self._identities[trial_id] for trial_id in known}

    def remember(self, trial_id: str, epochs: Iterable[EpochRecord]) -> None:
        """Fill ASHA's rungs."""
        self._rungs.fill(trial_id, epochs)

    def stops(self, trial: TrialSnapshot, epoch: EpochRecord) -> Ending | None:
        """Stop a trial that is not among the best at a rung."""
        # Baselines fill the rungs but are never stopped: losses are compared at equal length.
        if not self._rungs.passes(trial.spec.trial_id, epoch) and not trial.spec.baseline:
            return "pruned", f"below the best 1/{self._config.scheduler.reduction_factor} at epoch {epoch.epoch}"
        return None

    def ended(self, trial: TrialSnapshot) -> Ending | None:
        """Completed or diverged, by its epochs."""
        return ended_by_epochs(trial, self._config.budget.max_epochs)


def trial_config(config: SearchConfig, values: Mapping[str, Value]) -> TrialConfig:
    """The resolved config of the trial at a point of the space.

    Raises:
        pydantic.ValidationError: The point is not a valid trial.
    """
    return TrialConfig.model_validate(
        nested(values)
        | {
            "dataset": config.dataset,
            "evaluation": config.evaluation,
            "runtime": config.runtime,
            "objective": config.objectives[0],
            "max_epochs": config.budget.max_epochs,
            "seed": config.seed,
        }
    )
