"""`aerosweep server`, really run: on SQLite and S3 with a password, and on PostgreSQL; our clients read and write."""

import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import psycopg
import pytest
from dotenv import dotenv_values
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from ports import free_port
from waiting import PATIENCE, has_ended, wait_until

from analysis.recorded.mlflow_reader import read_search
from search.config.search_config import SearchConfig
from search.project.mlflow_tracker import Tracker
from search.project.search_projections import sync_search
from search.record.search_folder import write_search
from trainable.data.data_identity import DataIdentity
from trainable.record.metric_names import OBJECTIVE
from trainable.record.mlflow_client import connect
from trainable.record.record_types import EpochRecord, TrialSpec, now_ms, trial_name
from trainable.record.storage import Storage
from trainable.record.tags import TAG_SEARCH_ID
from trainable.record.trial_record import TrialRecord, load_trials

pytestmark = pytest.mark.filterwarnings("default")

COMMAND = [sys.executable, "-m", "aerosweep", "server"]
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
HOSTILE = {
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
    "MLFLOW_GUNICORN_OPTS": "--workers 1",
    "MLFLOW_STATIC_PREFIX": "/elsewhere",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT": "/nowhere",
    "MLFLOW_ARTIFACTS_ONLY": "true",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
}
"""What a server must not take from its environment."""


class TrackingServer:
    """The command as a user starts it."""

    def __init__(self, place, *options, environment=None):
        self.folder = place / "tracker"
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.printed = place / "printed"
        self._command = [*COMMAND, "--folder", str(self.folder), "--port", str(self.port), *options]
        self._environment = os.environ | (environment or {})
        self.process = None
        self._seen = []

    def start(self):
        with self.printed.open("wb") as out:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=out, stderr=out)
        said = self.printed.read_text
        wait_until(lambda: "stop         kill" in said(), "its start", unless=has_ended(self.process, said))

    def again(self, *options):
        """The same command a second time."""
        command = [*self._command, *options]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def processes(self):
        """Ids of the command and of all that it started."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += [int(child) for child in children.read_text().split()]
        self._seen = found[1:]
        return found

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.stop()
        for pid in self._seen:  # those that a test has found to outlive it
            if lives(pid) and str(self.port) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)

    def credentials(self):
        return dotenv_values(self.folder / "credentials.env")

    def status(self, path, credentials=None, method="GET", body=None, **headers):
        if credentials is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"} | headers)
            return connection.getresponse().status
        finally:
            connection.close()


def lives(pid):
    """Whether a process runs; one that has ended and that nobody has asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def require_gone(pids):
    wait_until(lambda: not [pid for pid in pids if lives(pid)], f"the end of {pids}")


SEARCH = "/api/2.0/mlflow/experiments/search?max_results=1"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(autouse=True)
def no_credentials_of_the_users(monkeypatch):
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_TRACKING_URI", *CREDENTIALS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, s3):
    """A server that other machines reach, with its artifacts on S3."""
    options = ("--host", "0.0.0.0", "--allowed-host", "head.example", "--artifacts", f"{s3}/mlflow")
    server = TrackingServer(tmp_path_factory.mktemp("guarded"), *options, environment=HOSTILE)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def admin(guarded, monkeypatch):
    """Its user and password, which our clients have in their environment."""
    for name, value in guarded.credentials().items():
        monkeypatch.setenv(name, value)
    return tuple(guarded.credentials().values())


def write_run(uri, name):
    """What a search writes of a trial."""
    tracker = Tracker(uri, "aerosweep", None)
    run = tracker.create(name, 1_000, {TAG_SEARCH_ID: name})
    points = [Metric(OBJECTIVE, 0.1 * epoch, 1_000 * epoch, epoch) for epoch in (1, 2, 3)]
    tracker.log(run, points, {"loss.name": "tversky"}, {"aerosweep.state": "completed"})
    tracker.upload(run, {"config.json": b"{}", "weights.pt": b"weights"})
    tracker.close(run, "FINISHED", 5_000)
    return run


def require_run(uri, name):
    """Another client finds all of it."""
    tracker = Tracker(uri, "aerosweep", None)
    (found,) = tracker.runs_of(name)
    assert (found.status, found.end_time, found.params) == ("FINISHED", 5_000, {"loss.name"})
    assert tracker.epochs(found) == {1, 2, 3}
    history = connect(uri).get_metric_history(found.run_id, OBJECTIVE)
    assert sorted((point.step, point.value, point.timestamp) for point in history) == [
        (epoch, 0.1 * epoch, 1_000 * epoch) for epoch in (1, 2, 3)
    ]
    return found


def test_what_a_search_writes_is_read_back_and_its_artifacts_lie_on_s3(guarded, admin, monkeypatch, tmp_path):
    client = boto3.client("s3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)  # a client reaches S3 through the server alone
    write_run(guarded.uri, "with-password")
    run = require_run(guarded.uri, "with-password")
    path = connect(guarded.uri).download_artifacts(run.run_id, "weights.pt", str(tmp_path))
    assert Path(path).read_bytes() == b"weights"
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket="searches", Prefix="mlflow/")["Contents"]]
    (key,) = (key for key in keys if key.endswith(f"{run.run_id}/artifacts/weights.pt"))
    assert client.get_object(Bucket="searches", Key=key)["Body"].read() == b"weights"


def test_nothing_is_to_be_had_without_the_password(guarded):
    for path in (SEARCH, f"{ARTIFACTS}?path=", "/get-artifact?path=a&run_uuid=1", "/"):
        assert guarded.status(path) == 401
        assert guarded.status(path, ("admin", "password1234")) == 401
        assert guarded.status(path, ("admin", "")) == 401
    assert guarded.status(f"{ARTIFACTS}/1/a", method="PUT", body="x") == 401
    assert guarded.status(SEARCH, tuple(guarded.credentials().values())) == 200


def test_our_client_without_the_password_is_told_that_it_has_none(guarded, monkeypatch):
    with pytest.raises(MlflowException, match="not authenticated"):
        Tracker(guarded.uri, "aerosweep", None)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "password1234")
    with pytest.raises(MlflowException, match="not authenticated"):
        Tracker(guarded.uri, "aerosweep", None)


def test_it_answers_to_its_names_alone(guarded, admin):
    for name in ("localhost", "127.0.0.1", "[::1]", "head.example", socket.gethostname()):
        for host in (name, f"{name}:{guarded.port}", f"{name}:8443"):
            assert guarded.status(SEARCH, admin, Host=host) == 200, host
    for host in ("evil.example", f"evil.example:{guarded.port}", "head.example.evil.example", "0.0.0.0"):
        assert guarded.status(SEARCH, admin, Host=host) == 403, host


def test_its_pages_may_ask_and_those_of_others_may_not(guarded, admin):
    asked = {"credentials": admin, "method": "POST", "body": '{"max_results": 1}'}
    path = "/ajax-api/2.0/mlflow/experiments/search"
    for origin in (f"http://head.example:{guarded.port}", "https://head.example", f"http://localhost:{guarded.port}"):
        assert guarded.status(path, Origin=origin, **asked) == 200, origin
    assert guarded.status(path, Origin="http://evil.example", **asked) == 403


def test_no_other_user_sees_its_passwords(guarded):
    secrets = [guarded.credentials()["MLFLOW_TRACKING_PASSWORD"], (guarded.folder / "secret_key").read_text()]
    assert len(guarded.processes()) == 3
    seen = [Path(f"/proc/{pid}/cmdline").read_text() for pid in guarded.processes()]
    seen += [guarded.printed.read_text(), (guarded.folder / "running.json").read_text()]
    assert not [secret for secret in secrets if any(secret in text for text in seen)]
    assert stat.S_IMODE(guarded.folder.stat().st_mode) == 0o700
    for name in ("credentials.env", "secret_key", "basic_auth.ini"):
        assert stat.S_IMODE((guarded.folder / name).stat().st_mode) == 0o600, name


def test_it_says_where_it_is_and_how_to_use_it(guarded, s3):
    lines = dict(line.split(maxsplit=1) for line in guarded.printed.read_text().splitlines())
    assert lines["artifacts"] == f"{s3}/mlflow"
    assert lines["driver"] == f"export MLFLOW_TRACKING_URI={lines['tracker']}"
    assert lines["tracker"].endswith(f":{guarded.port}")
    assert lines["password"] == f"source {guarded.folder}/credentials.env"
    assert lines["stop"] == f"kill {guarded.process.pid}"


def test_a_second_start_says_that_it_runs(guarded):
    second = guarded.again()
    assert second.returncode == 0, second.stderr
    assert f"is running already (process {guarded.process.pid}" in second.stdout
    other = guarded.again("--port", str(free_port()))
    assert other.returncode == 2
    assert f"is held by process {guarded.process.pid}" in other.stderr
    stranger = guarded.again("--folder", str(guarded.folder / "other"))
    assert stranger.returncode == 2
    assert "Address already in use" in stranger.stderr
    assert guarded.process.poll() is None


def test_a_bucket_that_is_not_there_is_named(tmp_path, s3):
    refused = TrackingServer(tmp_path).again("--artifacts", "s3://no-such-bucket/mlflow")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "--artifacts must be writable; got s3://no-such-bucket/mlflow" in refused.stderr


@contextlib.contextmanager
def running_postgresql(initdb, postgres):
    """A server of databases on loopback; as another user where we are root, whom it refuses."""
    other = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    # Not below pytest's folders, which are closed to other users.
    with tempfile.TemporaryDirectory(prefix="aerosweep-postgresql-") as name, Path(name, "log").open("wb") as log:
        data, password, port = f"{name}/data", Path(name, "password"), free_port()
        password.write_text("very@secret")
        if other:
            shutil.chown(name, "nobody", "nogroup")
            shutil.chown(password, "nobody", "nogroup")
        quiet = {"cwd": name, "stdout": log, "stderr": log}
        create = [
            *other,
            initdb,
            "--username=tracker",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--no-sync",
            data,
        ]
        subprocess.run(create, check=True, timeout=PATIENCE, **quiet)
        serve = [*other, postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        process = subprocess.Popen(serve, **quiet)
        try:
            uri = f"postgresql://tracker:very%40secret@127.0.0.1:{port}/postgres"
            until_open(uri, process)
            yield uri
        finally:
            process.send_signal(signal.SIGINT)  # its word for: drop all connections and end
            process.wait(PATIENCE)


def until_open(uri, process):
    def is_open():
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(uri).close()
            return True
        return False

    wait_until(is_open, "a connection to PostgreSQL", unless=has_ended(process))


@pytest.fixture
def postgresql():
    """URI of an empty database."""
    places = os.pathsep.join([os.environ["PATH"], *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))])
    programs = [shutil.which(name, path=places) for name in ("initdb", "postgres")]
    if None in programs:
        pytest.skip("PostgreSQL's server is not installed: no initdb or postgres (apt-get install postgresql)")
    with running_postgresql(*programs) as uri:
        yield uri


def record_search(storage, uri):
    """A search of two trials, as a driver leaves it that had no tracker."""
    values = {"name": "small", "dataset": {"layout": "synthetic"}, "storage": str(storage), "tracking": {"uri": uri}}
    config = SearchConfig.model_validate(values)
    folder = Storage(config.folder)
    write_search(config, folder, DataIdentity("f1a9"))
    for number in (0, 1):
        record = TrialRecord(folder, trial_name(number))
        suggested = {"loss": {"name": "dice"}}
        record.create(TrialSpec(trial_name(number), number, {}, suggested, False, now_ms()))
        record.start_attempt("node7", "cpu", 0)
        for epoch in (1, 2):
            metrics = {"miou": 0.1 * epoch, "objective": 0.1 * epoch + number}
            record.append(EpochRecord(epoch, now_ms(), 0.1 * epoch + number, epoch, metrics, 1, "node7", "cpu"))
        record.end("completed", "", record.epochs())
    return config


def test_on_postgresql_it_keeps_all_over_restarts_and_leaves_no_process(tmp_path, postgresql, monkeypatch):
    # Through the proxy, which is gone, it would not find itself.
    environment = {"MLFLOW_BACKEND_STORE_URI": postgresql, "http_proxy": "http://127.0.0.1:1"}
    server = TrackingServer(tmp_path, "--auth", environment=environment)
    try:
        server.start()
        credentials = server.credentials()
        for name, value in credentials.items():
            monkeypatch.setenv(name, value)
        write_run(server.uri, "before")
        config = record_search(tmp_path / "runs", server.uri)
        assert "filled in 2 runs, 4 epochs" in sync_search(config, print)
        processes = server.processes()
        assert len(processes) == 3
        assert server.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        assert not [pid for pid in processes if lives(pid)], "they have ended when it has"

        server.start()
        assert server.credentials() == credentials
        assert server.status(SEARCH, tuple(credentials.values())) == 200
        require_run(server.uri, "before")
        assert "nothing was missing" in sync_search(config, print)
        search = read_search(server.uri, "small")
        recorded = load_trials(Storage(config.folder))
        assert [trial.trial_id for trial in search.trials] == [trial.spec.trial_id for trial in recorded]
        assert [trial.objective_curve.tolist() for trial in search.trials] == [
            pytest.approx([epoch.objective for epoch in trial.epochs]) for trial in recorded
        ]
        assert "secret" not in "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in server.processes())
        assert "very" not in server.printed.read_text()
        processes = server.processes()
        server.process.kill()
        server.process.wait()
        require_gone(processes)
    finally:
        server.close()


def test_a_wrong_password_of_the_database_is_refused_in_a_sentence(tmp_path, postgresql):
    for uri in (postgresql.replace("very", "no"), postgresql.replace(":very%40secret", "")):
        refused = TrackingServer(tmp_path, environment={"MLFLOW_BACKEND_STORE_URI": uri}).again()
        assert refused.returncode == 2
        assert len(refused.stderr.splitlines()) == 1
        assert "the database must be reachable" in refused.stderr
        assert "PGPASSWORD" in refused.stderr
        assert "secret" not in refused.stderr


def test_an_mlflow_that_does_not_start_is_quoted(tmp_path):
    server = TrackingServer(tmp_path)
    server.folder.mkdir(mode=0o700)
    with contextlib.closing(sqlite3.connect(server.folder / "mlflow.db")) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('newer')")
        database.commit()
    refused = server.again()
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith("error: mlflow server must start")
    assert "Can't locate revision identified by 'newer'" in refused.stderr
    assert str(server.folder / "mlflow.log") in refused.stderr


def test_it_says_so_when_mlflow_ends_by_itself_or_has_another_password(tmp_path):
    server = TrackingServer(tmp_path, "--auth")
    try:
        server.start()
        admin = tuple(server.credentials().values())
        change = {"username": "admin", "current_password": admin[1], "password": "changed-in-mlflow"}
        path = "/api/2.0/mlflow/users/update-password"
        assert server.status(path, admin, method="PATCH", body=json.dumps(change)) == 200
        assert server.stop(signal.SIGINT) == 128 + signal.SIGINT
        server.start()
        assert f"warning: the password in {server.folder}/credentials.env was changed" in server.printed.read_text()
        processes = server.processes()
        os.kill(processes[1], signal.SIGKILL)
        assert server.process.wait(PATIENCE) == 1
        assert "mlflow server ended by itself" in server.printed.read_text()
        require_gone(processes)
    finally:
        server.close()
