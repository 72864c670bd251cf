"""`aerosweep submit` and `aerosweep job`: a search on a cluster, seen from the user's machine."""

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aerosweep.options import Output, Overrides, Resume, SearchFile
from aerosweep.user_errors import INTERRUPTED, without_traceback
from trainable.redaction import redacted

if TYPE_CHECKING:
    from search.jobs.cluster_job import ClusterJobs

COMMAND: Final = "AEROSWEEP_COMMAND"
"""Environment variable: the command line that a process works for, where that is not its own."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="See to the jobs that `submit` has started.")

Cluster = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The cluster's YAML, as `ray up` has it: reaches the head through SSH.",
        show_default=False,
    ),
]
Dashboard = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Instead of --cluster: where the head's dashboard can be reached, such as http://127.0.0.1:8265.",
        show_default=False,
    ),
]
JobId = Annotated[
    str, typer.Argument(metavar="JOB_ID", help="As `submit` printed it; `job status` lists them.", show_default=False)
]


def submit(
    config: SearchFile,
    cluster: Cluster = None,
    address: Dashboard = None,
    overrides: Overrides = None,
    output: Output = None,
    resume: Resume = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Whether to follow the job to its end.")] = True,
) -> None:
    """Submit a search."""
    _require_one(cluster, address)
    from search.jobs.job_folder import load_for_cluster, write_job_folder

    loaded = load_for_cluster(config, overrides or [], output)
    with tempfile.TemporaryDirectory(prefix="aerosweep-job-") as folder:
        sent = write_job_folder(loaded, Path(folder), Path.cwd())
        with _jobs(cluster, address) as jobs:
            command = shlex.join(redacted(word) for word in sys.argv)
            job_id = jobs.submit(loaded.name, Path(folder), resume=resume, variables={COMMAND: command})
            print(f"job          {job_id} (sent: {', '.join(sent)})")
            print(f"record       {loaded.folder}")
            for line in _commands(job_id, cluster, address):
                print(line, flush=True)
            if wait:
                raise typer.Exit(_follow(jobs, job_id, cluster, address))


@app.command(
    help="Show what has become of a job; without JOB_ID, list all of the cluster.",
    epilog="Example: aerosweep job status --cluster cluster.yaml",
)
@without_traceback
def status(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB_ID]", help="As `submit` printed it.", show_default=False)
    ] = None,
    cluster: Cluster = None,
    address: Dashboard = None,
) -> None:
    """Show one job or list all."""
    with _jobs(cluster, address) as jobs:
        for line in jobs.listed() if job_id is None else jobs.described(job_id):
            print(line)


@app.command(
    help="Print what a job has printed.\n\nWith --follow also what it goes on to print; then the exit code is the "
    "job's. Ctrl-C leaves the job alone.",
    epilog="Example: aerosweep job logs aerosweep-people-20261122-101530 --follow --cluster cluster.yaml",
)
@without_traceback
def logs(
    job_id: JobId,
    cluster: Cluster = None,
    address: Dashboard = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on to the end of the job.")] = False,
) -> None:
    """Print a job's log."""
    with _jobs(cluster, address) as jobs:
        if follow:
            raise typer.Exit(_follow(jobs, job_id, cluster, address))
        _write(jobs.log(job_id))


@app.command(
    help="Stop a job as Ctrl-C would stop its search, and wait for its end.\n\n"
    "No finished epoch is lost; the command that it prints last continues the search.",
    epilog="Example: aerosweep job stop aerosweep-people-20261122-101530 --cluster cluster.yaml",
)
@without_traceback
def stop(job_id: JobId, cluster: Cluster = None, address: Dashboard = None) -> None:
    """Stop a job."""
    with _jobs(cluster, address) as jobs:
        if jobs.stop(job_id, print):
            for line in jobs.log(job_id).splitlines()[-_SHOWN_LINES:]:
                print(line)
        for line in jobs.described(job_id):
            print(line)


_SHOWN_LINES: Final = 30


@contextmanager
def _jobs(cluster: Path | None, address: str | None) -> Iterator["ClusterJobs"]:
    """The jobs of the cluster that the options name, for as long as its head can be reached."""
    _require_one(cluster, address)
    from search.jobs.cluster_job import ClusterJobs, dashboard_address
    from search.jobs.head_tunnel import HeadTunnel

    if cluster is None:
        given = dashboard_address(str(address))
        yield ClusterJobs(lambda: given)
    else:
        with HeadTunnel(cluster) as tunnel:
            yield ClusterJobs(tunnel.address)


def _require_one(cluster: Path | None, address: str | None) -> None:
    from trainable.errors import InputError

    if (cluster is None) == (address is None):
        value = "neither" if cluster is None else "both"
        raise InputError("give --cluster FILE or --address URL", value, "For example: --cluster cluster.yaml")


def _follow(jobs: "ClusterJobs", job_id: str, cluster: Path | None, address: str | None) -> int:
    try:
        code = jobs.follow(job_id, _write, _note)
    except KeyboardInterrupt:
        print(f"\nthe job goes on without us: {job_id}")
        for line in _commands(job_id, cluster, address):
            print(line)
        return INTERRUPTED
    for line in jobs.described(job_id):
        print(line)
    return code


def _commands(job_id: str, cluster: Path | None, address: str | None) -> list[str]:
    from aerosweep.closing import runnable

    where = ["--cluster", str(cluster)] if cluster else ["--address", str(address)]

    def command(*words: str) -> str:
        return runnable(shlex.join(["aerosweep", "job", *words, *where]))

    return [f"follow       {command('logs', job_id, '--follow')}", f"stop         {command('stop', job_id)}"]


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
