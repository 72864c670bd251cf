"""All decisions of a search, from its record: what to try next, who goes on, who has ended.

Ray only carries them out.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from search.asha import Rungs
from search.baselines import baseline_points
from search.config import SearchConfig
from search.sampler import Observation, suggest_point
from search.space import Value, nested
from trainable.config import TrialConfig
from trainable.storage import Storage
from trainable.trial_record import (
    EndReason,
    EpochRecord,
    TrialCard,
    TrialRecord,
    TrialSnapshot,
    load_trials,
    now_ms,
    trial_name,
)


class Conductor:
    """A search as its record tells it.

    Args:
        config: The search.
        folder: Its folder.
        tell: Called with the new snapshot whenever a trial changes.
    """

    def __init__(self, config: SearchConfig, folder: Storage, tell: Callable[[TrialSnapshot], None]) -> None:
        self._config = config
        self._folder = folder
        self._tell = tell
        self._space = config.parsed_space
        self._baselines = baseline_points(config.baselines, self._space)
        scheduler = config.scheduler
        self._rungs = Rungs(scheduler.grace_epochs, scheduler.reduction_factor, config.budget.max_epochs)
        self._trials = {trial.card.trial_id: trial for trial in load_trials(folder)}
        for trial_id, trial in self._trials.items():
            self._rungs.fill(trial_id, trial.epochs)
        self._running: set[str] = set()
        self._unfinished: list[TrialSnapshot] = []

    def recover(self) -> None:
        """Write the end markers that a dead driver owed, tell of every known trial, and queue the unfinished ones."""
        for trial in list(self._trials.values()):
            final = _final(trial, self._config.budget.max_epochs) if trial.end is None else None
            if final is not None:
                self._end(trial, *final)
            else:
                self._tell(trial)
        self._unfinished = [trial for trial in self._trials.values() if trial.end is None]

    @property
    def trials(self) -> Mapping[str, TrialSnapshot]:
        """Every trial by id, in the order of their suggestion."""
        return self._trials

    @property
    def running(self) -> frozenset[str]:
        """Trials that were handed out and have not ended."""
        return frozenset(self._running)

    @property
    def rungs(self) -> Rungs:
        """ASHA's memory."""
        return self._rungs

    @property
    def left(self) -> int:
        """Trials of the budget that have not ended."""
        ended = sum(trial.end is not None for trial in self._trials.values())
        return max(self._config.budget.trials, len(self._trials)) - ended

    def next_trial(self) -> TrialCard | None:
        """The next trial to run: those that a dead driver left first, then new ones; None when the budget is spent."""
        if self._unfinished:
            card = self._unfinished.pop(0).card
        elif len(self._trials) < self._config.budget.trials:
            card = self._suggest()
        else:
            return None
        self._running.add(card.trial_id)
        self._tell(self._trials[card.trial_id])
        return card

    def epoch_done(self, trial_id: str, epoch: EpochRecord) -> bool:
        """Take note of a durable epoch.

        Returns:
            Whether the trial goes on; where not, its end marker is written.
        """
        trial = self._trials[trial_id]
        new = epoch.epoch > len(trial.epochs)
        if new:
            epochs = self._up_to(trial, epoch)
            self._rungs.fill(trial_id, epochs[:-1])
            trial = self._change(replace(trial, epochs=epochs, attempts=epoch.attempt))
        # An epoch that is trained again after a damaged checkpoint has been judged before, against fewer trials.
        ending = self._ending(trial, epoch) if new else _final(trial, self._config.budget.max_epochs)
        if ending is not None:
            self._end(trial, *ending)
        return ending is None

    def trial_failed(self, trial_id: str, detail: str) -> None:
        """Take note that a trial cannot go on."""
        self._end(self._trials[trial_id], "failed", detail)

    def _up_to(self, trial: TrialSnapshot, epoch: EpochRecord) -> tuple[EpochRecord, ...]:
        """The epochs up to and with a new one.

        A process that died between an epoch's record and its result leaves an epoch that the driver has not seen.
        """
        if epoch.epoch == len(trial.epochs) + 1:
            return (*trial.epochs, epoch)
        return TrialRecord(self._folder, trial.card.trial_id).epochs()[: epoch.epoch]

    def _suggest(self) -> TrialCard:
        number = len(self._trials)
        baseline = number < len(self._baselines)
        values = self._baselines[number] if baseline else self._ask(number)
        card = TrialCard(
            trial_id=trial_name(number),
            number=number,
            params=dict(self._space.searched(values)),
            config=trial_config(self._config, values).model_dump(mode="json"),
            baseline=baseline,
            created_ms=now_ms(),
        )
        TrialRecord(self._folder, card.trial_id).create(card)
        self._trials[card.trial_id] = TrialSnapshot(card)
        return card

    def _ask(self, number: int) -> dict[str, Value]:
        known = [Observation.of(trial) for trial in self._trials.values()]
        return suggest_point(self._space, known, self._config.seed, number)

    def _ending(self, trial: TrialSnapshot, epoch: EpochRecord) -> tuple[EndReason, str] | None:
        final = _final(trial, self._config.budget.max_epochs)
        if final is not None:
            return final
        # Baselines fill the rungs but are never stopped: losses are compared at equal length.
        if not self._rungs.passes(trial.card.trial_id, epoch) and not trial.card.baseline:
            return "pruned", f"below the best 1/{self._config.scheduler.reduction_factor} at epoch {epoch.epoch}"
        return None

    def _end(self, trial: TrialSnapshot, reason: EndReason, detail: str) -> None:
        trial_id = trial.card.trial_id
        marker = TrialRecord(self._folder, trial_id).end(reason, detail, trial.epochs)
        self._running.discard(trial_id)
        self._change(replace(trial, end=marker, attempts=marker.attempts))

    def _change(self, trial: TrialSnapshot) -> TrialSnapshot:
        self._trials[trial.card.trial_id] = trial
        self._tell(trial)
        return trial


def trial_config(config: SearchConfig, values: Mapping[str, Value]) -> TrialConfig:
    """The resolved config of the trial at a point of the space.

    Raises:
        pydantic.ValidationError: The point is not a valid trial.
    """
    return TrialConfig.model_validate(
        nested(values)
        | {
            "dataset": config.dataset,
            "runtime": config.runtime,
            "objective": config.objective,
            "max_epochs": config.budget.max_epochs,
            "seed": config.seed,
        }
    )


def _final(trial: TrialSnapshot, max_epochs: int) -> tuple[EndReason, str] | None:
    """How a trial has ended by its epochs alone, or None where it can go on."""
    if not trial.epochs:
        return None
    last = trial.epochs[-1]
    if last.diverged is not None:
        return "diverged", last.diverged
    if last.epoch >= max_epochs:
        return "completed", f"trained {max_epochs} epochs"
    return None
