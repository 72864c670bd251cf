"""The command line: parses, prints and exits; everything heavy is imported by the command that needs it."""

import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from aerosweep import data_commands, job_commands
from aerosweep.confirm_commands import (
    confirm_search,
    log_console,
    printer,
    read_confirmation,
    show_confirmation,
    show_leaderboard,
)
from aerosweep.options import Address, OptionalFile, Output, Overrides, RecordedSearch, Resume, SearchFile
from aerosweep.report_commands import ImageFormat, find_recorded, report_at_the_end, report_dataset, report_search
from aerosweep.server_command import EXAMPLE, HELP, server
from aerosweep.user_errors import INTERNAL_ERROR, INTERRUPTED, without_traceback
from search.run.stop_flag import SUPERVISOR

if TYPE_CHECKING:
    from search.config.search_config import SearchConfig

app = typer.Typer(
    name="aerosweep",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # what is no user's mistake shows as Python shows it, in cluster logs too
    help="Find the model and the loss that keep rare classes from vanishing in aerial segmentation.",
    epilog="Start with: aerosweep search examples/smoke.yaml",
)
app.add_typer(data_commands.app, name="data")
app.add_typer(job_commands.app, name="job")
app.command(help=HELP, epilog=EXAMPLE)(server)


def main() -> None:
    """Run the command line."""
    # Losses and models of the user's own lie where the command is started. `python -m` looks there by itself, the
    # console script does not; Ray's workers do, as `ray.init` sends them the driver's current directory. Last, so that
    # a folder called `search` there does not hide ours.
    sys.path.append(str(Path.cwd()))
    if SUPERVISOR in os.environ:
        from search.jobs.supervisor import end_with_supervisor

        end_with_supervisor()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:  # whatever we did wrong: a supervisor tells it from a search in which nothing worked
        traceback.print_exc()
        sys.exit(INTERNAL_ERROR)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"aerosweep {version('aerosweep')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(
    help="Search models and losses: train many trials, stop the weak ones early, record and rank them all.\n\n"
    "Writes DIR/NAME/ (every trial's record, search.yaml, leaderboard.csv) and, unless tracking.uri says otherwise, "
    "DIR/mlflow.db. Ctrl-C stops it at once; no finished epoch is lost.",
    epilog="Example: aerosweep search search.yaml --set budget.trials=40 --output runs",
)
@without_traceback
def search(
    config: SearchFile,
    overrides: Overrides = None,
    output: Output = None,
    resume: Resume = False,
    address: Address = None,
) -> None:
    """Run a search."""
    from search.config.config_file import load_search_config

    _launch(load_search_config(config, overrides or [], output), resume, address)


@app.command(
    help="Train one configuration, recorded as a search of one trial.\n\n"
    "CONFIG has the keys of a search config with one value each, and `space.` left out: model, loss, optimizer and "
    "data stand at the top level.",
    epilog="Example: aerosweep train --set dataset.layout=synthetic --set loss.name=tversky --set loss.alpha=0.7 "
    "--set loss.beta=0.3 --set model.architecture=unet",
)
@without_traceback
def train(
    config: OptionalFile = None,
    overrides: Overrides = None,
    output: Output = None,
    resume: Resume = False,
    address: Address = None,
) -> None:
    """Train one configuration."""
    from search.config.config_file import load_train_config

    _launch(load_train_config(config, overrides or [], output), resume, address)


@app.command(
    help="Train the best configurations again from fresh seeds and measure each once on val.\n\n"
    "SEARCH is the folder of a search, or its config file. Confirms the best, the best of each loss and the best "
    "baseline (see `confirm` in docs/config.md), shows means, spreads, intervals over scenes and a verdict for every "
    "claim, and writes SEARCH/confirm/. Continues where an earlier launch was stopped; no val score is taken twice.",
    epilog="Example: aerosweep confirm runs/my-search --set confirm.seeds=5",
)
@without_traceback
def confirm(
    search: RecordedSearch, overrides: Overrides = None, output: Output = None, address: Address = None
) -> None:
    """Confirm a search."""
    from search.config.config_file import load_recorded_config

    config = load_recorded_config(search, overrides or [], output)
    console = log_console()
    code = confirm_search(config, address, console)
    if code == 0:
        report_at_the_end(config, console, printer(console))
    raise typer.Exit(code)


@app.command(
    help="Show what a search has found: scores confirmed on val first, then dev scores, then losses at equal effort.",
    epilog="Example: aerosweep leaderboard runs/my-search",
)
@without_traceback
def leaderboard(search: RecordedSearch, overrides: Overrides = None, output: Output = None) -> None:
    """Show the leaderboard."""
    from search.config.config_file import load_recorded_config

    config = load_recorded_config(search, overrides or [], output)
    console = log_console()
    from trainable.record.storage import Storage
    from trainable.record.trial_record import load_trials

    confirmation = read_confirmation(config)
    if confirmation is not None:
        show_confirmation(confirmation, config.objectives, console)
    show_leaderboard(load_trials(Storage(config.folder)), config.objectives, console)


@app.command(
    help="Write the report of a search: one HTML page that says which loss brought back the classes that another "
    "drops, and whether to believe it.\n\n"
    "SEARCH is the folder of a search, its config file, or its name or id in MLflow; it may still be running. Each "
    "figure is written beside the page, with its numbers as CSV, and the page is attached to the search's run in "
    "MLflow. With --dataset, the report of an image set alone.",
    epilog="Example: aerosweep report runs/my-search --format svg",
)
@without_traceback
def report(
    search: Annotated[
        str | None,
        typer.Argument(
            metavar="[SEARCH]", help="A folder, a config file, or a name or id in MLflow.", show_default=False
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Report an image set: a data-set YAML, or a config that has one.", show_default=False
        ),
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where the images are, if not where they were.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many of the best trials are shown one by one.")] = 3,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where to write it. By default `report` in the search's folder.", show_default=False
        ),
    ] = None,
    image_format: Annotated[
        ImageFormat, typer.Option("--format", help="Format of the figures' files; the page needs none of them.")
    ] = ImageFormat.PNG,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where MLflow is, if not where the search says; for a name or id by default MLFLOW_TRACKING_URI, "
            "else runs/mlflow.db.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a report."""
    from trainable.errors import InputError

    if (search is None) == (dataset is None):
        value = "neither" if search is None else "both"
        raise InputError("give SEARCH or --dataset FILE", value, "For example: aerosweep report runs/my-search")
    console = log_console()
    say = printer(console)
    if dataset is not None:
        page = report_dataset(dataset, root, output=output, image_format=image_format, console=console, say=say)
    else:
        recorded = find_recorded(str(search), tracking_uri, output)
        page = report_search(recorded, top=top, image_format=image_format, dataset_root=root, console=console, say=say)
    say(f"report       {page}")


@app.command(
    help="Bring MLflow, the Optuna journal and the leaderboard in line with the record of a search.\n\n"
    "For a tracker that was down, or another one. Changes nothing where nothing is missing.",
    epilog="Example: aerosweep sync search.yaml --output runs",
)
@without_traceback
def sync(config: SearchFile, overrides: Overrides = None, output: Output = None) -> None:
    """Fill in what the projections miss."""
    from search.config.config_file import load_search_config

    loaded = load_search_config(config, overrides or [], output)
    say = printer(Console())
    from search.project.search_projections import sync_search

    say(sync_search(loaded, say))


app.command(
    help="Run a search on a Ray cluster: checks CONFIG here, sends it to the head, and follows what it prints.\n\n"
    "The search runs on the head, which starts it again with --resume if it dies; it needs this machine no longer "
    "once it is submitted. Ctrl-C leaves it alone, `aerosweep job` has it again. Exits with the exit code of the "
    "search; 143 if it was stopped.",
    epilog="Example: aerosweep submit search.yaml --cluster cluster.yaml --set budget.trials=200",
)(without_traceback(job_commands.submit))


@app.command(
    hidden=True,
    help="Run a search, and start it again with --resume when its process dies: what a job on a cluster runs.\n\n"
    "Gives up where five launches in a row bring no new epoch.",
    epilog="Example: aerosweep supervise search.yaml --address auto",
)
@without_traceback
def supervise(
    config: SearchFile,
    overrides: Overrides = None,
    output: Output = None,
    resume: Resume = False,
    address: Address = None,
) -> None:
    """Supervise a search."""
    from search.config.config_file import load_search_config
    from search.jobs.supervisor import Supervisor
    from trainable.record.storage import Storage

    loaded = load_search_config(config, overrides or [], output)
    command = [sys.executable, "-m", "aerosweep", "search", str(config)]
    command += [word for override in overrides or [] for word in ("--set", override)]
    command += ["--output", output] if output else []
    command += ["--address", address] if address else []
    os.environ.setdefault(job_commands.COMMAND, shlex.join(sys.argv))
    supervisor = Supervisor(command, Storage(loaded.folder), resume=resume, hours=loaded.budget.hours)
    with _continued_by_its_command():
        code = supervisor.run()
    raise typer.Exit(code)


@contextmanager
def _continued_by_its_command() -> Iterator[None]:
    """Add to a fault the command that continues the search."""
    from aerosweep.closing import resume_command, runnable
    from trainable.errors import SearchFaultError

    try:
        yield
    except SearchFaultError as fault:
        fault.add_note(f"continue     {runnable(resume_command(_given_command()))}")
        raise


def _given_command() -> list[str]:
    """The command line that the user gave, perhaps to another process that started this one."""
    given = os.environ.get(job_commands.COMMAND)
    return shlex.split(given) if given else sys.argv


def _launch(config: "SearchConfig", resume: bool, address: str | None) -> None:
    from aerosweep.closing import closing_lines, exit_code
    from aerosweep.terminal.image_progress import ImageProgress
    from aerosweep.terminal.progress import make_view
    from search.config.config_file import config_warnings

    console = log_console()
    view = make_view(console)
    for warning in config_warnings(config):
        view.say(f"warning: {warning}")
    # Before the heavy imports: the first sign of life should not take them.
    trials = "1 trial" if config.most_trials == 1 else f"{config.most_trials} trials"
    view.say(f"{config.name}: {trials}, {config.budget.max_epochs} epochs at the most, recorded in {config.folder}")
    try:
        from search.run.launch import run_search

        with _continued_by_its_command(), ImageProgress("decoding", console, view.say) as on_decode:
            outcome = run_search(config, resume=resume, address=address, view=view, say=view.say, on_decode=on_decode)
    finally:
        view.close()
    show_leaderboard(outcome.trials, config.objectives, console)
    say = printer(console)
    for line in closing_lines(outcome, config, _given_command()):
        say(line)
    code = exit_code(outcome)
    if code == 0 and config.confirm.after_search and not outcome.resume_needed:
        code = confirm_search(config, address, console)
    if code == 0:
        report_at_the_end(config, console, say)
    raise typer.Exit(code)
