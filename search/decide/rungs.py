"""Asynchronous successive halving as a function of the record.

The rule is that of Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", as Ray's AsyncHyperBand
applies it with one bracket: a trial that reaches a rung goes on unless it is below the (1 - 1/factor) quantile of what
the trials before it had there. It is our own because Ray's forgets its rungs when the driver dies.
"""

from collections.abc import Iterable

import numpy as np

from trainable.record.record_types import EpochRecord


class Rungs:
    """What every trial had reached at each rung.

    Args:
        grace_epochs: The first rung, in epochs.
        reduction_factor: One in this many passes; each rung is this many times further than the one before.
        max_epochs: No rung lies at or beyond it.
    """

    def __init__(self, grace_epochs: int, reduction_factor: int, max_epochs: int) -> None:
        self._factor = reduction_factor
        self._reached: dict[int, dict[str, float]] = {}
        milestone = grace_epochs
        while milestone < max_epochs:
            self._reached[milestone] = {}
            milestone *= reduction_factor

    @property
    def milestones(self) -> tuple[int, ...]:
        """Epochs at which trials are compared, ascending."""
        return tuple(self._reached)

    def fill(self, trial_id: str, epochs: Iterable[EpochRecord]) -> None:
        """Enter what a trial is known to have reached, without judging it again."""
        for epoch in epochs:
            if epoch.epoch in self._reached:
                self._reached[epoch.epoch][trial_id] = epoch.objective

    def passes(self, trial_id: str, epoch: EpochRecord) -> bool:
        """Enter a trial's new epoch, and say whether the trial may go on."""
        rung = self._reached.get(epoch.epoch)
        if rung is None:
            return True
        others = [value for other, value in rung.items() if other != trial_id]
        rung[trial_id] = epoch.objective
        return not others or epoch.objective >= float(np.quantile(others, 1 - 1 / self._factor))
