"""With a real MLflow and a real Ray: where passwords do not go, who may listen, whose files they are."""

import contextlib
import logging
import os
import shlex
import signal
import stat
import subprocess
import sys
import urllib.request
from pathlib import Path

import click
import pytest
import yaml
from mlflow.tracking import MlflowClient
from optuna_dashboard._config import DashboardConfig
from ports import free_port
from typer.testing import CliRunner
from waiting import PATIENCE, has_ended, wait_until

from aerosweep.cli import app
from aerosweep.closing import dashboard_command
from analysis.recorded.mlflow_reader import read_search
from analysis.report.attached import attach_report
from search.config.search_config import SearchConfig
from search.project.background_projection import BackgroundProjection
from search.project.search_projections import mlflow_projection
from search.project.tracking_uri import ui_command
from search.record.search_folder import read_meta, write_search
from trainable.data.data_identity import DataIdentity
from trainable.record.mlflow_client import connect
from trainable.record.record_types import EpochRecord, TrialSpec
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials

pytestmark = pytest.mark.filterwarnings("default")

SECRET = "s3cret"
CONFIG = {"name": "small", "dataset": {"layout": "synthetic"}, "budget": {"trials": 1}}


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read() == b"OK"
    except OSError:
        return False


@contextlib.contextmanager
def mlflow_server(folder, port):
    """A tracking server, which takes any password, until the context ends; then killed as a crash would."""
    program, *arguments = shlex.split(ui_command(f"sqlite:///{folder}/mlflow.db"))
    command = [str(Path(sys.executable).with_name(program)), *arguments, "--port", str(port), "--workers", "1"]
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(command, cwd=folder, env=quiet, stdout=log, stderr=log, start_new_session=True)
    try:
        said = (folder / "server.log").read_text
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"), "its start", unless=has_ended(server, said))
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def record_search(config):
    """The record of a search of one trial, as its driver and worker leave it."""
    folder = Storage(config.folder)
    write_search(config, folder, DataIdentity("data"))
    epoch = EpochRecord(1, 1_700_000_000_000, 0.5, 1, {"miou": 0.5, "objective": 0.5})
    record = TrialRecord(folder, "t0000")
    resolved = {"model": {"architecture": "unet"}, "loss": {"name": "dice"}, "dataset": {"layout": "synthetic"}}
    record.create(TrialSpec("t0000", 0, {}, resolved, False, 1_700_000_000_000))
    record.append(epoch)
    for name in ("weights.pt", "confusion_matrix.csv", "per_image_counts.npz"):
        record.folder.write(record.best_file(epoch, name), name.encode())
    record.end("completed", "", [epoch])
    return folder


def files_with(secret, folder):
    return [str(path) for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_password_goes_to_the_tracker_and_nowhere_else(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    caplog.set_level(logging.DEBUG)
    port = free_port()
    uri = f"http://me:{SECRET}@127.0.0.1:{port}"
    config = SearchConfig.model_validate(CONFIG | {"storage": str(tmp_path / "runs"), "tracking": {"uri": uri}})
    folder = record_search(config)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(CONFIG))
    # By the environment, too: that is where a config without its password finds it.
    by_option = ["sync", str(tmp_path / "small.yaml"), "--output", config.storage, "--set", f"tracking.uri={uri}"]
    by_environment = ["sync", f"{config.folder}/search.yaml", "--output", config.storage]

    said = []
    with mlflow_server(tmp_path, port):
        first = CliRunner().invoke(app, by_option)
        assert first.exit_code == 0, first.output
        assert f"MLflow at http://me:***@127.0.0.1:{port} had gaps: filled in 1 runs" in first.stdout
        refused = CliRunner().invoke(app, by_environment)
        assert refused.exit_code == 2
        assert "Set MLFLOW_TRACKING_URI to the whole URI" in refused.stderr
        again = CliRunner().invoke(app, by_environment, env={"MLFLOW_TRACKING_URI": uri})
        assert "nothing was missing" in again.stdout, again.output
        search = read_search(uri, "small")
        assert search.where == f"http://me:***@127.0.0.1:{port}"
        assert search.settings["tracking.uri"] == search.where

    background = BackgroundProjection(mlflow_projection(config, folder, read_meta(folder)), said.append)
    background.offer(load_trials(folder)[0])
    assert background.close(PATIENCE) == 1
    down = CliRunner().invoke(app, by_option)
    report = CliRunner().invoke(app, ["report", config.folder, "--tracking-uri", uri])
    assert (down.exit_code, report.exit_code) == (2, 2)
    why_not = attach_report(uri, "0" * 32, tmp_path / "small.yaml")
    assert why_not
    shown = [down.stderr, report.stderr, *said]
    for line in shown:
        assert f"MLflow at http://me:***@127.0.0.1:{port}" in line
    everything = [*shown, why_not, *(each.output for each in (first, refused, again, down, report)), caplog.text]
    assert not [text for text in everything if SECRET in text]
    assert files_with("me:***@", tmp_path), "the URI is nowhere, and so it says nothing that its password is not"
    assert files_with(SECRET, tmp_path) == []


@pytest.mark.parametrize("umask", [0o027, 0o002], ids=oct)
def test_a_database_and_its_artifacts_follow_the_umask(tmp_path, monkeypatch, umask):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = os.umask(umask)
    try:
        config = SearchConfig.model_validate(CONFIG | {"storage": str(tmp_path / "runs")})
        folder = record_search(config)
        projection = mlflow_projection(config, folder, read_meta(folder))
        trials = load_trials(folder)
        projection.project(trials[0])
        projection.finish(trials, {"t0000"}, live=False)
        uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
        (page := tmp_path / "runs" / "report.html").write_text("a report")
        run_id = read_search(uri, "small").run_id
        assert attach_report(uri, run_id, page) == ""
    finally:
        os.umask(before)
    paths = [tmp_path / "runs", *(tmp_path / "runs").rglob("*")]
    assert {"mlflow.db", "mlartifacts", "weights.pt", "report"} <= {path.name for path in paths}
    modes = {str(path): stat.S_IMODE(path.stat().st_mode) for path in paths}
    asked = {str(path): (0o777 if path.is_dir() else 0o666) & ~umask for path in paths}
    assert modes == asked


def test_a_database_that_is_there_keeps_its_mode(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    (tmp_path / "mlflow.db").touch(mode=0o640)
    connect(uri).search_experiments()
    assert stat.S_IMODE((tmp_path / "mlflow.db").stat().st_mode) == 0o640
    assert MlflowClient(uri).search_experiments()


def test_the_servers_whose_commands_we_print_listen_on_loopback_by_themselves(tmp_path):
    from mlflow.cli import cli as mlflow_cli  # here, because the import warns

    for command in (ui_command(f"sqlite:///{tmp_path}/mlflow.db"), dashboard_command(str(tmp_path))):
        assert "--host" not in command
    for name in ("ui", "server"):
        command = mlflow_cli.get_command(click.Context(mlflow_cli), name)
        assert {option.name: option.default for option in command.params}["host"] == "127.0.0.1"
    assert DashboardConfig().host == "127.0.0.1"


LISTENERS = """
from search.run.ray_session import ray_session

with ray_session(None):
    import psutil  # Ray's own copy

    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    open_ = [port for process in family for port in process.net_connections("tcp") if port.status == "LISTEN"]
    print(*sorted({port.laddr.ip for port in open_}))
"""


@pytest.fixture
def home(tmp_path):
    """A home folder in which Ray has not been yet."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def listeners(home, **environment):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment = inherited | {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])} | environment
    command = [sys.executable, "-c", LISTENERS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    return done.stdout.split()


def test_ray_on_one_machine_listens_to_nobody_else_and_keeps_its_token_to_the_user(home):
    found = listeners(home)
    assert found
    assert {address.removeprefix("::ffff:") for address in found} == {"127.0.0.1"}
    assert stat.S_IMODE((home / ".ray").stat().st_mode) == 0o700
    assert stat.S_IMODE((home / ".ray" / "auth_token").stat().st_mode) == 0o600


def test_ray_on_one_machine_listens_to_others_when_told_to(home):
    assert {"::", "0.0.0.0"} & set(listeners(home, RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="1"))
