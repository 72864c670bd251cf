"""A search at one moment, and whatever shows it while it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from trainable.record.record_types import TrialSnapshot


@dataclass(frozen=True)
class SearchState:
    """A search at one moment.

    Attributes:
        name: Of the search.
        budget_trials: Trials in all.
        max_epochs: Epochs of a trial that is not stopped early.
        trials: Every trial that was suggested so far, by id.
        running: Ids of those that run now.
        slots: Trials that can run at once.
        started: `time.monotonic()` at the start of this launch.
        deadline: The same clock when the time budget ends, or None.
        epochs_at_start: Epochs that earlier launches had done.
        objectives: Of the search.
    """

    name: str
    budget_trials: int
    max_epochs: int
    trials: Mapping[str, TrialSnapshot]
    running: frozenset[str]
    slots: int
    started: float
    deadline: float | None = None
    epochs_at_start: int = 0
    objectives: tuple[str, ...] = ("miou",)


class SearchView(Protocol):
    """Shows a search while it runs; its methods may be called from several threads."""

    def show(self, state: SearchState) -> None:
        """Show the present state; may be called at any rate, most calls do nothing."""
        ...

    def trial_ended(self, snapshot: TrialSnapshot, state: SearchState) -> None:
        """Report a trial that has just ended."""
        ...

    def say(self, line: str) -> None:
        """Print a line for the user, without the passwords of the URIs in it."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was; may be called twice."""
        ...
