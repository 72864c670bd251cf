"""Jobs of a Ray cluster: submitted, followed and stopped through the head's dashboard."""

import asyncio
import contextlib
import logging
import os
import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

from search.config.config_file import SEARCH_FILE
from search.jobs.head_tunnel import TunnelError
from trainable.errors import InputError, SearchFaultError
from trainable.redaction import in_short

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

STOPPED: Final = 143
"""Exit code of a job that was stopped: 128 + SIGTERM."""

_STOP_SECONDS: Final = 90
"""Ray kills what has not ended by then; the supervisor does so after 60 seconds."""
_QUIET_SECONDS: Final = 300.0
"""A log that is silent for so long may be a connection that died unnoticed: a search prints a line a minute."""
_POLL_SECONDS: Final = 1.0
_LONGEST_WAIT_SECONDS: Final = 30.0
_OVERRIDING: Final = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
"""Ray's client goes there instead, whatever address it is given."""


_TALKATIVE: Final = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers that tell of each upload and each closed connection."""


class DashboardUnreachableError(InputError):
    """The dashboard does not answer; a little later it perhaps does."""


class ClusterJobs:
    """The jobs of one cluster.

    Every method raises InputError where the dashboard cannot be reached, lets nobody in, or has no such job.

    Args:
        locate: Gives the dashboard's address, at the start and whenever the connection was lost.
    """

    def __init__(self, locate: Callable[[], str]) -> None:
        self._locate = locate
        self._client: JobSubmissionClient | None = None

    def submit(self, name: str, folder: Path, *, resume: bool, variables: Mapping[str, str]) -> str:
        """Submit a search that is supervised.

        Args:
            name: Of the search.
            folder: With the search's config and the user's modules: what is sent.
            resume: Whether to continue the search.
            variables: Further environment variables of the job.

        Returns:
            The job's id, `aerosweep-NAME-TIME`, the time in UTC.
        """
        command = ["python", "-m", "aerosweep", "supervise", SEARCH_FILE, "--address", "auto"]
        environment = {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS), **variables}
        job_id: str = self._call(
            "submit_job",
            entrypoint=shlex.join([*command, *(["--resume"] if resume else [])]),
            submission_id=f"aerosweep-{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
            runtime_env={"working_dir": str(folder), "env_vars": environment},
        )
        return job_id

    def log(self, job_id: str) -> str:
        """All that a job has printed so far."""
        text: str = self._call("get_job_logs", job_id)
        return text

    def listed(self) -> list[str]:
        """A line a job, the youngest first."""
        jobs = [job for job in self._call("list_jobs") if job.submission_id]
        jobs.sort(key=lambda job: job.start_time or 0, reverse=True)
        width = max((len(job.submission_id) for job in jobs), default=0)
        return [f"{job.submission_id:<{width}}  {_in_words(job)}" for job in jobs] or ["no job was submitted here"]

    def described(self, job_id: str) -> list[str]:
        """What has become of a job, in lines for a person."""
        details = self._details(job_id)
        lines = [f"job          {job_id}: {_in_words(details)}"]
        # Where the driver ran, its log says it all, and the message quotes it.
        if details.driver_exit_code is None and str(details.status) == "FAILED" and details.message:
            lines.append(f"reason       {details.message.strip()}")
        return lines

    def stop(self, job_id: str, say: Callable[[str], None]) -> bool:
        """Stop a job and wait until it has ended.

        Returns:
            Whether it was running.
        """
        if self._details(job_id).status.is_terminal():
            return False
        self._call("stop_job", job_id)
        say(f"stopping {job_id}: its search has {_STOP_SECONDS} s to end")
        while not self._details(job_id).status.is_terminal():
            time.sleep(_POLL_SECONDS)
        return True

    def follow(self, job_id: str, write: Callable[[str], None], note: Callable[[str], None]) -> int:
        """Print a job's log until it ends, however often the connection is lost meanwhile.

        Args:
            job_id: Of the job.
            write: Takes the log, piece by piece, nothing twice.
            note: Takes lines about the connection.

        Returns:
            The job's exit code; 143 for one that was stopped, 3 for one that Ray could not run to its end.
        """
        log = _GrowingText(write)
        self._details(job_id)  # a job that is not there is no connection that was lost
        lost = 0
        while True:
            try:
                asyncio.run(self._tail(job_id, log))
                details = self._details(job_id)
                if details.status.is_terminal():
                    log.begin()
                    log.take(self.log(job_id))  # Ray's tail may end before the last lines
                    return exit_code(details)
                lost = 0
                time.sleep(_POLL_SECONDS)
            except (DashboardUnreachableError, TunnelError) as error:
                lost += 1
                if lost == 1:
                    note(f"connection lost; the job goes on without it, Ctrl-C leaves it alone ({error.value})")
                time.sleep(min(2.0**lost, _LONGEST_WAIT_SECONDS))
                self._client = None

    async def _tail(self, job_id: str, log: "_GrowingText") -> None:
        log.begin()
        with _translated("the job's log"):
            chunks: AsyncIterator[str] = self._connected().tail_job_logs(job_id)
            async with contextlib.aclosing(chunks):  # type: ignore[type-var]
                while True:
                    try:
                        log.take(await asyncio.wait_for(anext(chunks), _QUIET_SECONDS))
                    except (StopAsyncIteration, TimeoutError):
                        return

    def _details(self, job_id: str) -> "JobDetails":
        return self._call("get_job_info", job_id)

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        client = self._connected()
        with _translated(client.get_address()):
            return getattr(client, method)(*arguments, **options)

    def _connected(self) -> "JobSubmissionClient":
        if self._client is None:
            address = self._locate()
            from ray.job_submission import JobSubmissionClient

            for name in _TALKATIVE:
                logging.getLogger(name).setLevel(logging.WARNING)
            with _translated(address), _without(*_OVERRIDING):
                self._client = JobSubmissionClient(address)
        return self._client


class _GrowingText:
    """Writes each character of a growing text once, though it is read from its beginning again and again."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._written = 0
        self._read = 0

    def begin(self) -> None:
        """The next piece is the text's first."""
        self._read = 0

    def take(self, piece: str) -> None:
        """Read the next piece and write what is new in it."""
        new = piece[max(0, self._written - self._read) :]
        self._read += len(piece)
        self._written = max(self._written, self._read)
        if new:
            self._write(new)


def exit_code(details: "JobDetails") -> int:
    """The exit code of a job that has ended."""
    code: int | None = details.driver_exit_code
    if str(details.status) == "STOPPED":
        return STOPPED
    if code is None:
        return 0 if str(details.status) == "SUCCEEDED" else SearchFaultError.exit_code
    return 128 - code if code < 0 else code


def dashboard_address(given: str) -> str:
    """Check the address of a dashboard.

    Raises:
        InputError: It is none that can be gone to by HTTP.
    """
    try:
        parts = urlsplit(given)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        rule = "--address must be the URL of a Ray dashboard"
        raise InputError(rule, given, "Write for example http://127.0.0.1:8265, or give --cluster")
    return given.rstrip("/")


def _in_words(details: "JobDetails") -> str:
    times = [f"{word} {_time(at)}" for word, at in (("from", details.start_time), ("to", details.end_time)) if at]
    code = f", exit code {exit_code(details)}" if details.status.is_terminal() else ""
    return ", ".join([f"{details.status}{code}", *([" ".join(times)] if times else [])])


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().isoformat(" ", "seconds")


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into errors for a user."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        _refuse_without_token(address, error.message)
    except aiohttp.WSServerHandshakeError as error:
        if error.status in (401, 403):
            _refuse_without_token(address, error.message)
        raise _unreachable(address, error) from error
    except (aiohttp.ClientError, requests.RequestException, OSError) as error:
        raise _unreachable(address, error) from error
    except RuntimeError as error:
        if "WebSocket" in str(error):
            raise _unreachable(address, error) from error
        raise _refused(address, error) from error


def _refuse_without_token(address: str, said: str) -> NoReturn:
    raise InputError(
        f"the cluster at {address} takes orders only with its token",
        said.strip().splitlines()[0],
        "Set RAY_AUTH_MODE=token, and have the cluster's token in ~/.ray/auth_token (or RAY_AUTH_TOKEN_PATH, or "
        "RAY_AUTH_TOKEN): the file that its YAML copies to every node",
    ) from None


def _unreachable(address: str, error: Exception) -> DashboardUnreachableError:
    return DashboardUnreachableError(
        f"a Ray dashboard must answer at {address}",
        in_short(error),
        "Start the cluster (`ray up cluster.yaml`), and give --cluster, or --address with the tunnel of "
        "`ray dashboard cluster.yaml` open",
    )


def _refused(address: str, error: RuntimeError) -> InputError:
    if "does not exist" in str(error):
        remedy = "`aerosweep job status` lists the jobs; those of a cluster that was started anew are gone, and "
        remedy += "`aerosweep submit --resume` continues their searches"
        return InputError("the cluster must have this job", in_short(error), remedy)
    remedy = "Look whether it is a Ray dashboard, of Ray 2.60 as here"
    return InputError(f"the cluster at {address} must take the order", in_short(error), remedy)


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Hide environment variables."""
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)
