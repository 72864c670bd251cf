"""What a search leaves its user with: where things are, what to do next, and the exit code."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.redaction import redacted

if TYPE_CHECKING:
    from search.config.search_config import SearchConfig
    from search.run.launch import SearchOutcome

_USELESS = ("failed", "diverged")


def closing_lines(outcome: "SearchOutcome", config: "SearchConfig", argv: Sequence[str]) -> list[str]:
    """The lines below the leaderboard.

    Args:
        outcome: Of the search.
        config: Of the search.
        argv: The command line, for the command that resumes it.
    """
    lines = [f"leaderboard  {outcome.folder}/leaderboard.csv", f"MLflow UI    {runnable(outcome.ui_command)}"]
    if dashboard := dashboard_command(outcome.folder):
        lines.append(f"Optuna       {runnable(dashboard)}")
    if outcome.interrupted:
        ended = sum(trial.end is not None for trial in outcome.trials)
        lines.append(f"stopped early ({outcome.interrupted}) with {ended} of {config.most_trials} trials ended")
    if outcome.interrupted or outcome.resume_needed:
        if outcome.signal is not None and config.budget.trials > 1:
            lines.append(f"report       {on_folder('report', outcome.folder)}")
        lines.append(f"continue     {runnable(resume_command(argv))}")
    elif config.budget.trials > 1 and not config.confirm.after_search:
        lines.append(f"confirm      {on_folder('confirm', outcome.folder)}")
    return lines


def on_folder(command: str, folder: str) -> str:
    """The command line that runs a command of ours on a search's folder."""
    return runnable(f"aerosweep {command} {shlex.quote(folder)}")


def runnable(command: str) -> str:
    """The command as it works in the user's shell: by path where its program is installed beside us, but not on PATH.

    So it is after `make smoke`, which activates no environment.
    """
    program, _, rest = command.partition(" ")
    beside = Path(sys.executable).with_name(program)
    if shutil.which(program) or not beside.exists():
        return command
    here = Path.cwd()
    path = beside.relative_to(here) if beside.is_relative_to(here) else beside
    return f"{shlex.quote(str(path))} {rest}"


def dashboard_command(folder: str) -> str | None:
    """The command that opens Optuna Dashboard, or None where the journal is on no path that it could read."""
    if "://" in folder:
        return None
    from search.project.optuna_journal import JOURNAL_FILE

    return shlex.join(["optuna-dashboard", f"{folder}/{JOURNAL_FILE}"])


def resume_command(argv: Sequence[str]) -> str:
    """The same command line with `--resume`, quoted for a shell; passwords are left out."""
    program, *arguments = (redacted(word) for word in argv)
    begin = ["python", "-m", "aerosweep"] if Path(program).name == "__main__.py" else [Path(program).name]
    return shlex.join([*begin, *(word for word in arguments if word != "--resume"), "--resume"])


def exit_code(outcome: "SearchOutcome") -> int:
    """128 + N after signal N; 1 where no trial came to anything; else 0, also when the time budget ended the search."""
    if outcome.signal is not None:
        return 128 + outcome.signal
    if outcome.trials and all(trial.state in _USELESS for trial in outcome.trials):
        return 1
    return 0
