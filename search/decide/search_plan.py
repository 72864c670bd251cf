"""The trials of a search: baselines first, then what the sampler suggests; ASHA stops the weak ones."""

from collections.abc import Iterable, Mapping

from search.config.search_config import SearchConfig
from search.decide.plan import Ending, ended_by_epochs
from search.decide.rungs import Rungs
from search.decide.sampler import Sampler
from search.space.baselines import baseline_points
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
        self._baselines = baseline_points(config.baselines, self._space)
        self._sampler = Sampler(self._space, config.seed, config.objectives)
        scheduler = config.scheduler
        self._rungs = Rungs(scheduler.grace_epochs, scheduler.reduction_factor, config.budget.max_epochs)

    def total(self, known: Mapping[str, TrialSnapshot]) -> int:
        """The budget; more where an earlier launch had a larger one."""
        return max(self._config.budget.trials, len(known))

    def next_spec(self, known: Mapping[str, TrialSnapshot], number: int) -> TrialSpec | None:
        """The next baseline or suggestion, or None when the budget is spent."""
        if len(known) >= self._config.budget.trials:
            return None
        baseline = number < len(self._baselines)
        values = self._baselines[number] if baseline else self._sampler.next_point(known.values(), number)
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
