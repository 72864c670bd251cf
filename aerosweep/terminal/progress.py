"""What the user sees while a search runs: a live view on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aerosweep.terminal.trial_line import ended_line
from search.decide.ranking import is_ranked, pareto_front, rank_key
from search.run.search_state import SearchState, SearchView
from trainable.record.record_types import TrialSnapshot
from trainable.record.trial_words import loss_text, model_and_loss
from trainable.redaction import redacted

_REDRAW_SECONDS: Final = 0.25
_LINE_SECONDS: Final = 60.0
_FEWEST_EPOCHS: Final = 4
"""An estimate from fewer epochs than these, or than two of each slot, would jump about."""
_MOST_RUNNING_LINES: Final = 12

Clock = Callable[[], float]


class PlainView:
    """One plain line a minute, and one for each finished trial: for logs.

    Args:
        console: Where to.
        clock: Monotonic seconds.
    """

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._due = -float("inf")

    def show(self, state: SearchState) -> None:
        """Print the state once a minute."""
        now = self._clock()
        if now >= self._due:
            self._due = now + _LINE_SECONDS
            self.say(progress_line(state, now))

    def trial_ended(self, snapshot: TrialSnapshot, state: SearchState) -> None:
        """Print how a trial ended."""
        self.say(ended_line(snapshot, state.max_epochs))

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(redacted(line), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is held."""


class LiveView:
    """A progress bar, the best so far and the running trials, redrawn in place; ended trials scroll by above.

    Args:
        console: A terminal.
        clock: Monotonic seconds.
    """

    def __init__(self, console: Console, clock: Clock = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._due = -float("inf")
        self._live: Live | None = None

    def show(self, state: SearchState) -> None:
        """Redraw, four times a second at the most."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + _REDRAW_SECONDS
        if self._live is None:
            # Redrawn by us alone: a thread of its own would wake up for nothing.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(render(state, now), refresh=True)

    def trial_ended(self, snapshot: TrialSnapshot, state: SearchState) -> None:
        """Print how a trial ended, above the view."""
        style = {"failed": "red", "diverged": "red", "pruned": "dim"}.get(snapshot.state, "")
        self._console.print(Text(ended_line(snapshot, state.max_epochs), style=style), soft_wrap=True)
        self._due = -float("inf")

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self._console.print(redacted(line), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take the view off the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def make_view(console: Console) -> SearchView:
    """The view that fits where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView(console)


def counts_text(state: SearchState) -> str:
    """How many trials are where: `7/60 trials ended, 2 running (4 completed, 3 pruned)`."""
    ended = Counter(trial.state for trial in state.trials.values() if trial.end is not None)
    parts = [f"{ended[reason]} {reason}" for reason in ("completed", "pruned", "diverged", "failed") if ended[reason]]
    kinds = f" ({', '.join(parts)})" if parts else ""
    return f"{ended.total()}/{budget(state)} trials ended{kinds}, {len(state.running)} running"


def budget(state: SearchState) -> int:
    """Trials in all; more than the budget where an earlier launch had a larger one."""
    return max(state.budget_trials, len(state.trials))


def best_trial(trials: Iterable[TrialSnapshot]) -> TrialSnapshot | None:
    """The first of the ranking, or None where there is none yet."""
    return min(filter(is_ranked, trials), key=rank_key, default=None)


def best_text(state: SearchState) -> str:
    """The best so far and by what: `best 0.412 by t0003 (unet, dice)`; with several objectives, `, 4 on the front`."""
    best = best_trial(state.trials.values())
    if best is None:
        return "nothing to compare yet"
    front = pareto_front(state.trials.values(), state.objectives) if len(state.objectives) > 1 else ()
    on_front = f", {len(front)} on the front" if front else ""
    return f"best {best.objective:.3f} by {best.spec.trial_id} ({model_and_loss(best.spec.config)}){on_front}"


def epochs_left(state: SearchState) -> float:
    """Epochs that are still to be trained, by the lengths of the trials that have ended.

    Stopped trials are shorter; one trial of full length is counted among them, which keeps early guesses high.
    """
    lengths = [
        len(trial.epochs) for trial in state.trials.values() if trial.end is not None and not trial.spec.baseline
    ]
    expected = (sum(lengths) + state.max_epochs) / (len(lengths) + 1)
    open_trials = [trial for trial in state.trials.values() if trial.end is None]
    left = sum(_epochs_left_of(trial, state.max_epochs if trial.spec.baseline else expected) for trial in open_trials)
    return left + expected * max(0, state.budget_trials - len(state.trials))


def _epochs_left_of(trial: TrialSnapshot, expected: float) -> float:
    return max(1.0, expected - len(trial.epochs))


def seconds_left(state: SearchState, now: float) -> float | None:
    """An estimate from the epochs per second of this launch, or None while there are too few to say.

    Args:
        state: The search.
        now: `time.monotonic()`.
    """
    done = sum(len(trial.epochs) for trial in state.trials.values()) - state.epochs_at_start
    if done < max(_FEWEST_EPOCHS, 2 * state.slots) or now <= state.started:
        return None
    return epochs_left(state) * (now - state.started) / done


def time_text(state: SearchState, now: float) -> str:
    """The time left, honest about what it is: `estimating`, `about 12 min left`, `the time budget ends in 3 min`."""
    left = seconds_left(state, now)
    until_deadline = None if state.deadline is None else max(0.0, state.deadline - now)
    if until_deadline is not None and (left is None or until_deadline < left):
        # Never a promise to finish what the budget will cut off.
        return f"the time budget ends in {duration(until_deadline)}"
    return "estimating the time left" if left is None else f"about {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds in words, no more exact than an estimate deserves: `40 s`, `12 min`, `3 h 20 min`, `2 d 5 h`."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def progress_line(state: SearchState, now: float) -> str:
    """The state in one line, for a log."""
    return f"{counts_text(state)}; {best_text(state)}; {time_text(state, now)}"


def running_rows(state: SearchState) -> list[tuple[str, str, str, str, str]]:
    """Trial, model, loss, epoch and objective of each running trial, in the order of their suggestion."""
    trials = sorted((state.trials[i] for i in state.running if i in state.trials), key=lambda trial: trial.spec.number)
    return [
        (
            trial.spec.trial_id,
            str(trial.spec.config.get("model", {}).get("architecture", "?")),
            loss_text(trial.spec.config),
            f"epoch {len(trial.epochs)}/{state.max_epochs}",
            "" if trial.objective is None else f"{trial.objective:.3f}",
        )
        for trial in trials
    ]


def render(state: SearchState, now: float) -> RenderableType:
    """The live view of a state."""
    ended = sum(trial.end is not None for trial in state.trials.values())
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(state.name, style="bold"), ProgressBar(budget(state), ended, width=30), Text(time_text(state, now))
    )
    rows = running_rows(state)
    running = Table.grid(padding=(0, 2))
    for row in rows[:_MOST_RUNNING_LINES]:
        running.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    parts: list[RenderableType] = [head, Text(counts_text(state)), Text(best_text(state), style="green"), running]
    if len(rows) > _MOST_RUNNING_LINES:
        parts.append(Text(f"and {len(rows) - _MOST_RUNNING_LINES} more running", style="dim"))
    return Group(*parts)
