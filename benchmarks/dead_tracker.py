"""What a tracker that is down costs a search: nothing between its first and its last trial, and a wait at its end.

The same search of empty trials runs with MLflow on SQLite, with a server that refuses connections, and with one that
takes them and never answers. The peer is the search with SQLite, so that a ratio of 0.95 is a search slowed by 5 %.
The end, from the last trial to the return, is told apart; Ray's own end is in it, whatever the tracker.

    python -m benchmarks.dead_tracker --json benchmarks/results/dead_tracker.json
"""

import argparse
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.empty_search import empty_search, run_empty
from benchmarks.result import lower_is_better, publish

HEALTHY: Final = "SQLite"


class Times(NamedTuple):
    """Of a search, in seconds: from its first trial to the end of its last one, and from there to the return."""

    trials: float
    end: float


@contextmanager
def sqlite() -> Iterator[None]:
    """The database beside the searches."""
    yield None


@contextmanager
def refused() -> Iterator[str]:
    """URI of a port at which nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """URI of a port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


TRACKERS: Final[dict[str, Callable[[], AbstractContextManager[str | None]]]] = {
    HEALTHY: sqlite,
    "refused": refused,
    "no answer": black_hole,
}


def time_search(trials: int, folder: Path, uri: str | None) -> Times:
    """Run a search of empty trials.

    Args:
        trials: How many.
        folder: Where it is recorded; new for each search.
        uri: Of its tracker; None is SQLite.
    """
    outcome = run_empty(empty_search(trials, folder, tracking={"uri": uri}))
    returned = time.time()
    ends = [trial.end.time_ms / 1000 for trial in outcome.trials if trial.end]
    assert len(ends) == trials
    return Times(max(ends) - outcome.trials[0].spec.created_ms / 1000, returned - max(ends))


def main() -> None:
    """Time all, alternately, and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--trials", type=int, default=100, help="of each search")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[Times]] = {name: [] for name in TRACKERS}
    for _ in range(options.runs):
        for name, tracker in TRACKERS.items():
            with tempfile.TemporaryDirectory(prefix="dead-tracker-") as folder, tracker() as uri:
                times[name].append(time_search(options.trials, Path(folder), uri))
    medians = {name: Times(*map(statistics.median, zip(*each, strict=True))) for name, each in times.items()}
    healthy = medians.pop(HEALTHY)
    rows = [
        row
        for name, dead in medians.items()
        for row in (
            lower_is_better(f"{options.trials} empty trials, tracker: {name} [s]", dead.trials, healthy.trials),
            lower_is_better(f"the end of the search, tracker: {name} [s]", dead.end, healthy.end),
        )
    ]
    publish("dead_tracker", rows, options.json)


if __name__ == "__main__":
    main()
