"""A search from its record: what comes next, who goes on, who has ended; its plan decides, Ray carries it out."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace

from search.decide.plan import Ending, Plan
from trainable.record.record_types import EndReason, EpochRecord, FailureRecord, TrialSnapshot, TrialSpec
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials, require_specs


class Conductor:
    """A search, or its confirmation, as its record tells it.

    Args:
        plan: Which trials there are to be, and which of them go on.
        folder: Where their record lies.
        tell: Called with the new snapshot whenever a trial changes.
        max_attempts: How often a trial may fail before it is given up.

    Raises:
        InputError: It cannot be read what a trial is.
    """

    def __init__(self, plan: Plan, folder: Storage, tell: Callable[[TrialSnapshot], None], max_attempts: int) -> None:
        self._plan = plan
        self._folder = folder
        self._tell = tell
        self._max_attempts = max_attempts
        self._trials = {trial.spec.trial_id: trial for trial in load_trials(folder)}
        require_specs(folder, self._trials)
        for trial_id, trial in self._trials.items():
            self._plan.remember(trial_id, trial.epochs)
        self._ended = sum(trial.end is not None for trial in self._trials.values())
        self._running: set[str] = set()
        self._unfinished: deque[str] = deque()

    def recover(self) -> None:
        """Write the end markers that a dead driver owed, tell of every known trial, and queue the unfinished ones."""
        for trial in list(self._trials.values()):
            ending = self._plan.ended(trial) if trial.end is None else None
            if ending is not None:
                self._end(trial, *ending)
            else:
                self._tell(trial)
        self._unfinished.extend(trial_id for trial_id, trial in self._trials.items() if trial.end is None)

    @property
    def trials(self) -> Mapping[str, TrialSnapshot]:
        """Every trial by id, in the order of their suggestion."""
        return self._trials

    @property
    def running(self) -> frozenset[str]:
        """Trials that were handed out and have not ended."""
        return frozenset(self._running)

    @property
    def total(self) -> int:
        """Trials in all, those to come included."""
        return self._plan.total(self._trials)

    @property
    def left(self) -> int:
        """Trials that have not ended, those to come included."""
        return self.total - self._ended

    def next_trial(self) -> TrialSpec | None:
        """The next trial to run: those that wait for another start first, then new ones; None when there are no more.

        While trials run there may be more later: one that fails waits for another start.
        """
        spec = self._trials[self._unfinished.popleft()].spec if self._unfinished else self._create()
        if spec is not None:
            self._running.add(spec.trial_id)
            self._tell(self._trials[spec.trial_id])
        return spec

    def epoch_done(self, trial_id: str, epoch: EpochRecord) -> bool:
        """Take note of a durable epoch.

        Returns:
            Whether the trial goes on; where not, its end marker is written.
        """
        trial = self._trials[trial_id]
        new = epoch.epoch > len(trial.epochs)
        if new:
            epochs = self._up_to(trial, epoch)
            self._plan.remember(trial_id, epochs[:-1])
            trial = self._change(replace(trial, epochs=epochs, attempts=epoch.attempt))
        trial = self._with_measurement(trial)
        # An epoch that is trained again after a damaged checkpoint has been judged before, against fewer trials.
        ending = self._ending(trial, epoch) if new else self._plan.ended(trial)
        if ending is not None:
            self._end(trial, *ending)
        return ending is None

    def trial_failed(self, trial_id: str, detail: str) -> None:
        """Take note that a trial cannot go on, however often it is started."""
        self._end(self._trials[trial_id], "failed", detail)

    def attempt_failed(self, trial_id: str, reason: str, counted: bool) -> FailureRecord:
        """Take note that a trial's process has come to its end; it waits for another start, or is given up.

        Args:
            trial_id: Its id.
            reason: One line.
            counted: Whether the trial is to blame; False where its machine was lost.
        """
        record = TrialRecord(self._folder, trial_id)
        failure = record.add_failure(reason, counted)
        if counted and sum(each.counted for each in record.failures()) >= self._max_attempts:
            self.trial_failed(trial_id, reason)
        else:
            self._running.discard(trial_id)
            self._unfinished.append(trial_id)
        return failure

    def excuse(self, trial_id: str, failure: FailureRecord) -> None:
        """Take note that the machine of a failed start was lost, as it turned out."""
        TrialRecord(self._folder, trial_id).excuse(failure)

    def _up_to(self, trial: TrialSnapshot, epoch: EpochRecord) -> tuple[EpochRecord, ...]:
        """The epochs up to and with a new one.

        A process that died between an epoch's record and its result leaves an epoch that the driver has not seen.
        """
        if epoch.epoch == len(trial.epochs) + 1:
            return (*trial.epochs, epoch)
        return TrialRecord(self._folder, trial.spec.trial_id).epochs()[: epoch.epoch]

    def _with_measurement(self, trial: TrialSnapshot) -> TrialSnapshot:
        """A confirmation's worker measures on val before it reports its last epoch."""
        if not trial.spec.confirms or trial.val is not None:
            return trial
        return replace(trial, val=TrialRecord(self._folder, trial.spec.trial_id).val())

    @property
    def _next_number(self) -> int:
        """No trial has had it."""
        return max((trial.spec.number for trial in self._trials.values()), default=-1) + 1

    def _create(self) -> TrialSpec | None:
        spec = self._plan.next_spec(self._trials, self._next_number)
        if spec is not None:
            TrialRecord(self._folder, spec.trial_id).create(spec)
            self._trials[spec.trial_id] = TrialSnapshot(spec)
        return spec

    def _ending(self, trial: TrialSnapshot, epoch: EpochRecord) -> Ending | None:
        return self._plan.ended(trial) or self._plan.stops(trial, epoch)

    def _end(self, trial: TrialSnapshot, reason: EndReason, detail: str) -> None:
        trial_id = trial.spec.trial_id
        marker = TrialRecord(self._folder, trial_id).end(reason, detail, trial.epochs)
        self._running.discard(trial_id)
        self._ended += self._trials[trial_id].end is None
        self._change(replace(trial, end=marker, attempts=marker.attempts))

    def _change(self, trial: TrialSnapshot) -> TrialSnapshot:
        self._trials[trial.spec.trial_id] = trial
        self._tell(trial)
        return trial
