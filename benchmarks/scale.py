"""What grows with the number of trials: searches of empty trials, recorded in full, each size in a process of its own.

Each search is run in one launch and then resumed for a few trials more. Both are launches as `aerosweep search` makes
them: Ray on this machine, MLflow on SQLite, the Optuna journal, ASHA, TPE over eight parameters. The slots are real
processes that take trial after trial. docs/scale.md says what each column means.

    python -m benchmarks.scale --json benchmarks/results/scale.json

The three sizes take about half an hour on two cores. The peak memory is read from /proc: Linux only.
"""

# The process that starts the launches imports nothing large: what it holds would count as theirs.
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

SIZES = (100, 1000, 5000)


@dataclass(frozen=True)
class Row:
    """A search of one size; times in seconds, memory in MB.

    Attributes:
        trials: Of the search.
        overhead: Wall time a trial, median of the last hundred.
        cpu: CPU time of the driver's loop a trial, median of the last hundred; it depends less on who else computes.
        epochs: A trial, mean of the last hundred.
        suggestion: Of a next point from the whole record, median.
        first_suggestion: The first of a process, which has nothing prepared.
        lag: From a trial's end to MLflow having all of it, median of the last hundred.
        behind: Trials that MLflow lacked when the last one ended.
        missing: Trials that it still lacked at the return: the wait for it is bounded.
        end: From the last trial's end to the return, which waits for MLflow.
        driver: Peak memory of its process.
        resume: From the start of a process that extends the search to the start of the first new trial.
        resume_end: From the end of the last new trial to the return.
        resume_driver: Peak memory of that process.
        load: Of the machine when the search returned, over the last minute.
    """

    trials: int
    overhead: float
    cpu: float
    epochs: float
    suggestion: float
    first_suggestion: float
    lag: float
    behind: int
    missing: int
    end: float
    driver: float
    resume: float
    resume_end: float
    resume_driver: float
    load: float


def measure(trials: int, slots: int, more: int, folder: Path) -> Row:
    """Run a search of `trials`, and resume it for `more`."""
    search = launch(trials, slots, folder)
    load = os.getloadavg()[0]
    began = time.time()
    resumed = launch(trials + more, slots, folder, "--resume")
    return Row(
        trials,
        search["overhead"],
        search["cpu"],
        search["epochs"],
        statistics.median(search["suggestions"][1:]),
        search["suggestions"][0],
        search["lag"],
        search["behind"],
        search["missing"],
        search["end"],
        search["driver"],
        resumed["first_start"] - began,
        resumed["end"],
        resumed["driver"],
        load,
    )


def launch(trials: int, slots: int, folder: Path, *options: str) -> dict[str, Any]:
    """One launch in a process of its own, and what it tells."""
    told = folder / "told.json"
    command = [sys.executable, "-m", "benchmarks.scale_launch", str(folder), str(told)]
    subprocess.run([*command, f"--trials={trials}", f"--slots={slots}", *options], check=True)
    figures: dict[str, Any] = json.loads(told.read_text())
    return figures


def publish(rows: Sequence[Row], slots: int, json_file: Path | None) -> None:
    """Print the table, a column a size, and write `{"name", "slots", "rows", "machine"}` where a file is given."""
    from rich.console import Console
    from rich.table import Table

    from benchmarks.result import machine

    table = Table("", *(f"{row.trials} trials" for row in rows), title=f"scale, {slots} slots (s, MB)")
    for field in fields(Row)[1:]:
        table.add_row(field.name.replace("_", " "), *(f"{getattr(row, field.name):.4g}" for row in rows))
    Console().print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        content = {"name": "scale", "slots": slots, "rows": [asdict(row) for row in rows], "machine": machine()}
        json_file.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Measure every size and publish after each: the largest takes long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="trials")
    parser.add_argument("--slots", type=int, default=4, help="trials at once, each a process")
    parser.add_argument("--more", type=int, default=8, help="trials that a resume adds")
    options = parser.parse_args()
    rows: list[Row] = []
    for trials in options.sizes:
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            rows.append(measure(trials, options.slots, options.more, Path(name)))
        publish(rows, options.slots, options.json)


if __name__ == "__main__":
    main()
