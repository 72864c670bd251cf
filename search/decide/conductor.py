"""A search from its record: what comes next, who goes on, who has ended; its plan decides, Ray carries it out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from search.decide.plan import Ending, Plan
from trainable.record.record_types import EndReason, EpochRecord, FailureRecord, TrialSnapshot, TrialSpec
from trainable.record.storage import Storage
from trainable.record.trial_numbers import TrialNumbers
from trainable.record.trial_record import TrialRecord, load_trials, require_specs


class Conductor:
    """A search, or its confirmation, as its record tells it.

    Whatever it is told, it decides as one that was made anew from the record at that moment would. One thing alone is
    not on record: that a machine may yet prove lost. A trial that waits for that when the driver dies is started again.

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
        self._numbers = TrialNumbers(folder, (trial.spec.number for trial in self._trials.values()))
        for trial in self._trials.values():
            self._plan.remember(trial.spec.trial_id, self._judged_epochs(trial))
        self._ended = sum(trial.end is not None for trial in self._trials.values())
        self._running: set[str] = set()
        self._waiting: set[str] = set()
        self._suspicions: Counter[str] = Counter()
        self._awaiting: dict[str, str] = {}

    def recover(self) -> None:
        """Write the end markers that a dead driver owed, tell of every trial, and let the unfinished ones wait."""
        for trial in list(self._trials.values()):
            ending = self._owed(trial) if trial.end is None else None
            if ending is not None:
                self._end(trial, *ending)
            else:
                self._tell(trial)
        self._waiting.update(trial_id for trial_id, trial in self._trials.items() if trial.end is None)

    @property
    def trials(self) -> Mapping[str, TrialSnapshot]:
        """Every trial by id, in the order of their suggestion."""
        return self._trials

    @property
    def running(self) -> frozenset[str]:
        """Trials that were handed out and have not ended."""
        return frozenset(self._running)

    @property
    def awaiting(self) -> frozenset[str]:
        """Trials that are given up unless a machine proves lost."""
        return frozenset(self._awaiting)

    @property
    def total(self) -> int:
        """Trials in all, those to come included."""
        return self._plan.total(self._trials)

    @property
    def left(self) -> int:
        """Trials that have not ended, those to come included."""
        return self.total - self._ended

    def next_trial(self) -> TrialSpec | None:
        """The next trial to run, or None where there is none at present.

        The earliest trial that waits for a start comes first; a new trial comes when no trial waits. While trials run,
        or await a verdict, there may be more later: a trial that fails waits for another start.
        """
        waiting = [self._trials[trial_id].spec for trial_id in self._waiting]
        spec = min(waiting, key=lambda each: each.number) if waiting else self._create()
        if spec is not None:
            self._waiting.discard(spec.trial_id)
            self._running.add(spec.trial_id)
            self._tell(self._trials[spec.trial_id])
        return spec

    def epoch_done(self, trial_id: str, epoch: EpochRecord) -> bool:
        """Take note of a durable epoch.

        Returns:
            Whether the trial goes on; where not, its end marker is written.
        """
        trial = self._trials[trial_id]
        if epoch.epoch == len(trial.epochs) + 1:
            return self._take(trial, (*trial.epochs, epoch))
        if trial.epochs[epoch.epoch - 1 : epoch.epoch] == (epoch,):
            # It is trained again after a damaged checkpoint, or is the last and comes once more.
            return self._take(trial, trial.epochs)
        # A process that died between an epoch's record and its result, or a damaged record that was set aside.
        return self._take(trial, TrialRecord(self._folder, trial_id).epochs()[: epoch.epoch])

    def trial_failed(self, trial_id: str, detail: str) -> None:
        """Take note that a trial cannot go on, however often it is started."""
        if self._catch_up(trial_id):
            self._end(self._trials[trial_id], "failed", detail)

    def attempt_failed(self, trial_id: str, reason: str, counted: bool, suspected: bool = False) -> FailureRecord:
        """Take note that a trial's process has come to its end; it waits for another start, or is given up.

        Args:
            trial_id: Its id.
            reason: One line.
            counted: Whether the trial is to blame; False where its machine was lost.
            suspected: Whether the machine may yet prove lost: `excuse` or `convict` follows.
        """
        failure = TrialRecord(self._folder, trial_id).add_failure(reason, counted)
        self._suspicions[trial_id] += suspected
        if self._catch_up(trial_id):
            self._start_again(trial_id, reason)
        return failure

    def excuse(self, trial_id: str, failure: FailureRecord) -> None:
        """Take note that the machine of a failed start was lost, as it turned out."""
        TrialRecord(self._folder, trial_id).excuse(failure)
        self._settle(trial_id)

    def convict(self, trial_id: str) -> None:
        """Take note that the machine of a failed start was not lost, as far as can be told."""
        self._settle(trial_id)

    def _settle(self, trial_id: str) -> None:
        self._suspicions[trial_id] -= 1
        reason = self._awaiting.pop(trial_id, None)
        if reason is not None:
            self._start_again(trial_id, reason)

    def _start_again(self, trial_id: str, reason: str) -> None:
        """Let a trial wait for another start, or give it up, or put that off until it is known which."""
        self._running.discard(trial_id)
        failures = TrialRecord(self._folder, trial_id).failures()
        if sum(failure.counted for failure in failures) < self._max_attempts:
            self._waiting.add(trial_id)
        elif self._suspicions[trial_id] > 0:
            self._awaiting[trial_id] = reason
        else:
            self._end(self._trials[trial_id], "failed", reason)

    def _catch_up(self, trial_id: str) -> bool:
        """Take note of what a process has recorded without a word, before another decides on it.

        Returns:
            Whether the trial has not ended with that.
        """
        epochs = TrialRecord(self._folder, trial_id).epochs()
        trial = self._trials[trial_id]
        return epochs == trial.epochs or self._take(trial, epochs)

    def _take(self, trial: TrialSnapshot, epochs: Sequence[EpochRecord]) -> bool:
        """Take note of all durable epochs of a trial, and judge the new ones.

        Returns:
            Whether the trial goes on.
        """
        stopped = None
        for place, epoch in enumerate(epochs):
            if trial.epochs[place : place + 1] == (epoch,):
                continue
            trial = self._change(replace(trial, epochs=tuple(epochs[: place + 1]), attempts=epoch.attempt))
            stopped = stopped or self._judge(trial, epoch)
        trial = self._with_measurement(trial)
        ending = self._plan.ended(trial) or stopped
        if ending is not None:
            self._end(trial, *ending)
        return ending is None

    def _judge(self, trial: TrialSnapshot, epoch: EpochRecord) -> Ending | None:
        """Compare a trial with others where its plan does so, once and for all."""
        if not self._plan.judges(epoch.epoch):
            return None
        record = TrialRecord(self._folder, trial.spec.trial_id)
        if record.judged(epoch.epoch):  # against fewer trials; its record was damaged since, and it was trained again
            self._plan.remember(trial.spec.trial_id, [epoch])
            return None
        ending = self._plan.stops(trial, epoch)
        if ending is None:
            record.judge(epoch.epoch)
        return ending

    def _judged_epochs(self, trial: TrialSnapshot) -> tuple[EpochRecord, ...]:
        """All but a last one at which the driver died: a trial is handed its next epoch when it has been judged."""
        if trial.end is not None or not trial.epochs or not self._plan.judges(trial.epochs[-1].epoch):
            return trial.epochs
        judged = TrialRecord(self._folder, trial.spec.trial_id).judged(trial.epochs[-1].epoch)
        return trial.epochs if judged else trial.epochs[:-1]

    def _owed(self, trial: TrialSnapshot) -> Ending | None:
        """How a trial has ended for which the driver died before it could say so."""
        stopped = self._judge(trial, trial.epochs[-1]) if trial.epochs else None
        return self._plan.ended(trial) or stopped

    def _with_measurement(self, trial: TrialSnapshot) -> TrialSnapshot:
        """A confirmation's worker measures on val before it reports its last epoch."""
        if not trial.spec.confirms or trial.val is not None:
            return trial
        return replace(trial, val=TrialRecord(self._folder, trial.spec.trial_id).val())

    def _create(self) -> TrialSpec | None:
        spec = self._plan.next_spec(self._trials, self._numbers.next)
        if spec is not None:
            TrialRecord(self._folder, spec.trial_id).create(spec)
            self._numbers.given()
            self._trials[spec.trial_id] = TrialSnapshot(spec)
        return spec

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
