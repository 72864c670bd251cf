"""`mlflow server` as the head of a cluster needs it: checked before it starts, open to friends, ended as a whole."""

import base64
import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from filelock import Timeout

from search.jobs.die_with_parent import ending_with_parent
from search.jobs.server_checks import require_database, require_free, require_writable
from search.jobs.server_folder import ServerFolder
from search.jobs.server_settings import DATABASE, LOOPBACK, ServerSettings
from trainable.errors import InputError
from trainable.redaction import redacted

# One: a process of MLflow takes 200 MB before it does anything, and answers forty requests at a time.
_WORKERS: Final = 1
_STARTED_AFTER: Final = 300.0
"""Seconds at the most; it makes its tables the first time, on a machine that may be busy."""
_ENDED_AFTER: Final = 15.0
"""Seconds that it has to end by itself."""

_FIXED: Final = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # processes that score language models: nothing of ours
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "INFO",  # its last words are quoted where it does not start
}
_DROPPED: Final = (
    # What would undo what is decided here.
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "MLFLOW_ARTIFACTS_ONLY",
    # A client's, which the head of a cluster exports for its drivers.
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
)


def serve(settings: ServerSettings, say: Callable[[str], None]) -> int:
    """Run the server until a signal ends it, or itself.

    Args:
        settings: Of the server.
        say: Takes lines for the user.

    Returns:
        The exit code: 0 where the same server runs already, 128 + N after signal N, 1 where MLflow ended by itself.

    Raises:
        InputError: It cannot start: nothing has been started then, or all of it has ended again.
    """
    folder = ServerFolder(settings.folder)
    folder.make()
    try:
        held = folder.lock().acquire()
    except Timeout:
        say(_running_already(settings, folder))
        return 0
    with held:
        folder.write_running(settings.shown())
        require_free(settings.host, settings.port)
        require_database(settings.database)
        require_writable(settings.artifacts)
        environment = _environment(settings, folder)
        return _supervise(settings, folder, environment, say)


def _running_already(settings: ServerSettings, folder: ServerFolder) -> str:
    running = folder.running()
    if running is None:
        raise InputError(
            "a folder must be that of one server", f"{folder.path}, which another start holds", "Try again in a moment"
        )
    who = f"process {running.pid} on {running.node}"
    different = [key for key, value in settings.shown().items() if running.settings.get(key) != value]
    if different:
        raise InputError(
            f"a folder must be that of one server: {folder.path} is held by {who}",
            f"another {different[0]}, {settings.shown()[different[0]]} where that one has "
            f"{running.settings.get(different[0])}",
            f"Stop it (kill {running.pid}), start this one as that one, or give it another --folder",
        )
    state = "running" if _answers(settings) else "starting"
    return f"tracker      {settings.url} is {state} already ({who})"


def _environment(settings: ServerSettings, folder: ServerFolder) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    environment |= _FIXED
    environment[DATABASE] = settings.database
    names = (*LOOPBACK, *settings.allowed_hosts)
    # Any port: a tunnel or a proxy has one of its own. The brackets of IPv6 are special in these patterns.
    patterns = [pattern for name in names for pattern in (name, f"{name.replace('[', '[[]', 1)}:*")]
    environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(patterns)
    # Else the UI could be opened by these names but shows nothing: it asks by POST, with its page for the origin.
    places = [place for name in settings.allowed_hosts for place in (name, f"{name}:{settings.port}")]
    origins = [f"{scheme}://{place}" for scheme in ("http", "https") for place in places]
    environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins)
    if settings.auth:
        environment |= folder.auth_environment()
    return environment


def _command(settings: ServerSettings) -> list[str]:
    """Holds no secret: every user sees it."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", settings.host, "--port", str(settings.port)]
    command += ["--workers", str(_WORKERS), "--serve-artifacts", "--artifacts-destination", settings.artifacts]
    # Without a line for each request: a search makes one an epoch, and nobody empties the log.
    command += ["--uvicorn-opts", "--log-level warning --timeout-graceful-shutdown 5"]
    return [*command, "--app-name", "basic-auth"] if settings.auth else command


class _Stopped(BaseException):
    """A signal has come: its number."""


@contextmanager
def _signals_raise() -> Iterator[None]:
    """The first of SIGINT, SIGTERM and SIGHUP raises _Stopped; those after it, while all is ended, do nothing."""
    # What is ignored stays so: `nohup` ignores SIGHUP.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in wanted if signal.getsignal(number) != signal.SIG_IGN}

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise _Stopped(number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _supervise(
    settings: ServerSettings, folder: ServerFolder, environment: dict[str, str], say: Callable[[str], None]
) -> int:
    process: subprocess.Popen[bytes] | None = None
    with _signals_raise():
        try:
            process = _start(settings, folder, environment)
            _await_answer(settings, folder, process)
            for line in _lines(settings, folder):
                say(line)
            code = process.wait()
            say(f"error: mlflow server ended by itself, with {code}; its last words are in {folder.log}")
        except _Stopped as stopped:
            return 128 + int(stopped.args[0])
        else:
            return 1
        finally:
            if process is not None:
                _end(process)


def _start(settings: ServerSettings, folder: ServerFolder, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with folder.log.open("wb") as log:
        return subprocess.Popen(
            _command(settings),
            cwd=folder.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a group of its own, which can be ended as one
            preexec_fn=ending_with_parent(),  # SIGKILL to us ends it too
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End MLflow and all that it started."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_ENDED_AFTER)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _await_answer(settings: ServerSettings, folder: ServerFolder, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTED_AFTER
    while not _answers(settings):
        if process.poll() is not None or time.monotonic() > deadline:
            raise InputError(
                f"mlflow server must start and answer within {_STARTED_AFTER:.0f} seconds",
                f"'{_last_words(folder.log.read_text(errors='replace'))}'",
                f"Mend that; {folder.log} has the whole story",
            )
        time.sleep(0.2)


def _last_words(log: str) -> str:
    """The last exception of a log, else its last line."""
    lines = redacted(log).strip().splitlines() or ["nothing at all"]
    exceptions = [line for line in lines if re.match(r"[\w.]+: ", line)]
    return (exceptions or lines)[-1][:500].rstrip(".")


def _answers(settings: ServerSettings) -> bool:
    return _status(settings, "/health") == http.client.OK


def _status(settings: ServerSettings, path: str, headers: dict[str, str] | None = None) -> int | None:
    """The HTTP status that the server gives, or None where nobody answers."""
    # The standard library's, because others go through the proxy of the environment.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers or {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _lines(settings: ServerSettings, folder: ServerFolder) -> list[str]:
    """Where it is, and how to use and stop it."""
    lines = [
        f"tracker      {settings.url}",
        f"database     {redacted(settings.database)}",
        f"artifacts    {settings.artifacts}",
        f"driver       export MLFLOW_TRACKING_URI={settings.url}",
    ]
    if settings.auth:
        lines.append(f"password     source {shlex.quote(str(folder.credentials))}")
        word = base64.b64encode(":".join(folder.admin()).encode()).decode()
        path = "/api/2.0/mlflow/experiments/search?max_results=1"
        if _status(settings, path, {"Authorization": f"Basic {word}"}) == http.client.UNAUTHORIZED:
            lines.append(
                f"warning: the password in {folder.credentials} was changed in MLflow: write the new one there"
            )
    return [*lines, f"stop         kill {os.getpid()}"]
