"""A tracker that is away, dies, never answers or is locked: the search neither fails nor waits, and MLflow gets all."""

import contextlib
import http.server
import io
import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from ports import free_port
from ray import cloudpickle
from rich.console import Console
from waiting import PATIENCE, has_ended, wait_until

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.project import background_projection, mlflow_projection
from search.project import search_projections as projections
from search.project.search_projections import SearchProjections, sync_search
from search.record.search_folder import write_search
from search.run import confirm
from search.run.launch import run_search
from trainable.data.data_identity import DataIdentity
from trainable.ray_trainable import SEARCH_FOLDER, TRIAL_ID, SegmentationTrainable
from trainable.record.record_types import EpochRecord, TrialSpec, now_ms, trial_name
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials
from trainable.training import EpochOutcome

pytestmark = pytest.mark.filterwarnings("default")
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

EPOCHS = 2
STATUS = {"completed": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "diverged": "FAILED"}


class RecordedSearch:
    """A search without Ray: it writes records and tells the projections, as the driver does."""

    def __init__(self, storage, uri):
        values = {
            "name": "small",
            "dataset": {"layout": "synthetic"},
            "storage": str(storage),
            "tracking": {"uri": uri},
        }
        self.config = SearchConfig.model_validate(values)
        self.folder = Storage(self.config.folder)
        self.said = []
        self.meta = write_search(self.config, self.folder, DataIdentity("f1a9"))
        self.projections = SearchProjections(self.config, self.folder, self.meta, self.said.append)

    def train(self, *numbers, reason="completed"):
        for number in numbers:
            spec = TrialSpec(trial_name(number), number, {}, {"loss": {"name": "dice"}}, False, now_ms())
            record = TrialRecord(self.folder, spec.trial_id)
            record.create(spec)
            self.tell(number)
            record.start_attempt("node7", "cpu", 0)
            for epoch in range(1, EPOCHS + 1):
                objective = 0.1 * epoch + 0.01 * number
                metrics = {"miou": objective, "objective": objective, "iou/person": 0.5 * objective}
                record.append(EpochRecord(epoch, now_ms(), objective, epoch, metrics, 1, "node7", "cpu"))
                self.tell(number)
            record.folder.write(record.best_file(record.epochs()[-1], "weights.pt"), b"weights")
            if reason is not None:
                record.end(reason, "", record.epochs())
                self.tell(number)

    def tell(self, number):
        self.projections.offer(load_trials(self.folder)[number])

    def close(self):
        self.projections.close(load_trials(self.folder))

    def tracked_at(self, uri):
        """Its config with another tracker."""
        return self.config.model_copy(update={"tracking": self.config.tracking.model_copy(update={"uri": uri})})


def require_equal(folder, client):
    """MLflow is what the record says: one run a trial, one point a metric and epoch, the right states."""
    trials = load_trials(folder)
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    parents = [run for run in runs if run.data.tags["aerosweep.role"] == "search"]
    children = {run.data.tags["aerosweep.trial"]: run for run in runs if run not in parents}
    assert len(parents) == 1
    assert len(runs) == len(trials) + 1, "a run is there twice, or not at all"
    assert "RUNNING" not in {run.info.status for run in runs}
    for trial in trials:
        run = children[trial.spec.trial_id]
        assert run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert run.data.tags["aerosweep.state"] == (trial.end.reason if trial.end else "interrupted")
        assert run.info.status == (STATUS[trial.end.reason] if trial.end else "KILLED")
        assert run.data.params["loss.name"] == trial.spec.config["loss"]["name"]
        for name in trial.epochs[0].metrics:
            points = [(point.step, point.value, point.timestamp) for point in histories(client, run, name)]
            assert sorted(points) == [(epoch.epoch, epoch.metrics[name], epoch.time_ms) for epoch in trial.epochs]


def histories(client, run, name):
    return client.get_metric_history(run.info.run_id, name)


class Server:
    """A real MLflow server on loopback, over a database of its own."""

    def __init__(self, folder, empty_store):
        self.folder = folder
        self.store = f"sqlite:///{folder / 'server.db'}"
        self.uri = f"http://127.0.0.1:{free_port()}"
        self.process = None
        shutil.copy(empty_store, folder / "server.db")

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1"]
        command += ["--port", self.uri.rpartition(":")[2], "--backend-store-uri", self.store]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=quiet, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self.answers, "an answer of the server", unless=has_ended(self.process, self.log))

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=10) as answer:
                return answer.read() == b"OK"
        except OSError:
            return False

    def log(self):
        return (self.folder / "server.log").read_text()

    def kill(self):
        """As a crash would: the server and its workers."""
        process, self.process = self.process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition):
    wait_until(condition, "it")


@pytest.fixture
def server(tmp_path, empty_store):
    server = Server(tmp_path, empty_store)
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(autouse=True)
def patience_with_slow_servers_and_none_with_dead_ones(monkeypatch):
    """On a busy machine the end may take long, and it is no outage; what was out is tried again soon."""
    monkeypatch.setattr(background_projection, "_LAST_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(projections, "DRAIN_SECONDS", 600.0)


@pytest.fixture(autouse=True)
def quiet_libraries(caplog, capfd):
    """What goes wrong is said to the user, in a line; the libraries below say nothing of their own."""
    yield
    loud = [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING]
    assert [f"{record.name}: {record.getMessage()}" for record in loud] == []
    printed = capfd.readouterr().err.lower()
    assert [word for word in ("mlflow", "urllib3", "sqlalchemy", "alembic", "traceback") if word in printed] == []


DOWN = "does not take records (ConnectionRefusedError: [Errno 111] Connection refused); the search goes on and fills in"


def test_a_server_that_comes_up_in_the_middle_gets_what_it_missed(tmp_path, server):
    search = RecordedSearch(tmp_path / "runs", server.uri)
    search.train(0, 1)
    until(lambda: search.said)
    server.start()
    search.train(2, reason="failed")
    until(lambda: len(search.said) == 2)
    search.train(3, reason="diverged")
    search.train(4, reason=None)
    search.close()
    assert len(search.said) == 2, "once when it goes down, once when it is back"
    assert DOWN in search.said[0]
    assert search.said[1] == f"MLflow at {server.uri} takes records again"
    require_equal(search.folder, MlflowClient(server.uri))


def test_what_a_server_that_never_came_has_missed_is_filled_in_by_a_sync(tmp_path, empty_store):
    search = RecordedSearch(tmp_path / "runs", f"http://127.0.0.1:{free_port()}")
    search.train(*range(6))
    search.train(6, reason=None)
    until(lambda: search.said)
    search.close()
    assert len(search.said) == 2
    assert DOWN in search.said[0]
    assert search.said[1] == "MLflow lacks 7 of 7 trials: run `aerosweep sync` with this config when it is back"

    store = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'elsewhere.db')}"
    config, said = search.tracked_at(store), []
    assert "filled in 7 runs, 14 epochs and the weights of" in sync_search(config, said.append)
    require_equal(search.folder, MlflowClient(store))
    assert "nothing was missing" in sync_search(config, said.append)
    assert said == []


def test_what_was_missed_of_a_search_is_filled_in_at_the_end_of_its_confirmation(tmp_path, empty_store):
    search = RecordedSearch(tmp_path / "runs", f"http://127.0.0.1:{free_port()}")
    search.train(0, 1)
    search.close()
    store = f"sqlite:///{shutil.copy(empty_store, tmp_path / 'elsewhere.db')}"
    said = []
    confirm._Projections(search.tracked_at(store), search.folder, search.meta, said.append).close()
    assert said == []
    require_equal(search.folder, MlflowClient(store))


def test_a_store_that_is_emptied_under_a_running_search_is_filled_again(tmp_path, empty_store):
    """As a server that comes back without its data, and as a user who tidies up."""
    store = Path(shutil.copy(empty_store, tmp_path / "mlflow.db"))
    search = RecordedSearch(tmp_path / "runs", f"sqlite:///{store}")
    search.train(0, 1)
    until(lambda: ended_runs(store) == 2)
    client = MlflowClient(f"sqlite:///{store}")
    for run in client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id]):
        client.delete_run(run.info.run_id)
    search.train(2)
    search.close()
    assert search.said == []
    require_equal(search.folder, client)


def test_the_last_words_of_a_launch_are_not_waited_for_without_end(tmp_path, empty_store, monkeypatch):
    """A tracker that answers, but slowly, holds up each of many calls."""
    search = RecordedSearch(tmp_path / "runs", f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}")
    search.train(0)
    gate = threading.Event()
    monkeypatch.setattr(search.projections._mlflow, "finish", lambda *args, **kwargs: gate.wait())
    monkeypatch.setattr(projections, "FINISH_SECONDS", 0.2)
    search.close()
    gate.set()
    assert search.said == [
        "MLflow lacks the end of this launch (TimeoutError: no end after 0.2 s): "
        "run `aerosweep sync` with this config when it is back"
    ]


@contextlib.contextmanager
def black_hole():
    """Takes connections and never answers, as a server that hangs, or a firewall in between."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def broken_server():
    """Answers everything with an error, as a server does whose database is gone."""

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(500)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("tracker", "reason"),
    [(black_hole, "TimeoutError: timed out"), (broken_server, "ResponseError: too many 500 error responses")],
)
def test_a_server_that_is_no_good_is_not_tried_for_each_trial_at_the_end(tmp_path, monkeypatch, tracker, reason):
    if tracker is black_hole:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with tracker() as uri:
        search = RecordedSearch(tmp_path / "runs", uri)
        search.train(*range(20))
        until(lambda: search.said)
        mlflow, tried = search.projections._mlflow, []
        project = mlflow.project
        monkeypatch.setattr(mlflow, "project", lambda trial: tried.append(trial) or project(trial))
        search.close()
    assert len(tried) <= 2, "one that waited for its turn, and one last chance; each may take as long as a request may"
    assert len(search.said) == 2
    assert f"does not take records ({reason})" in search.said[0]
    assert search.said[1] == "MLflow lacks 20 of 20 trials: run `aerosweep sync` with this config when it is back"


def test_a_server_that_hangs_as_the_search_ends_does_not_fail_it(tmp_path, monkeypatch, server):
    """All trials are there, and the last words are lost."""
    server.start()
    search = RecordedSearch(tmp_path / "runs", server.uri)
    search.train(0)
    finish = search.projections._mlflow.finish

    def hang(*args, **kwargs):
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        os.killpg(server.process.pid, signal.SIGSTOP)
        finish(*args, **kwargs)

    monkeypatch.setattr(search.projections._mlflow, "finish", hang)
    search.close()
    assert search.said == [
        "MLflow lacks the end of this launch (TimeoutError: timed out): "
        "run `aerosweep sync` with this config when it is back"
    ]
    os.killpg(server.process.pid, signal.SIGCONT)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", f"{PATIENCE:.0f}")
    sync_search(search.config, search.said.append)
    require_equal(search.folder, MlflowClient(server.uri))
    assert len(search.said) == 1


HOLD_LOCKS = """
import sqlite3, sys

databases = [sqlite3.connect(path, isolation_level=None) for path in sys.argv[1:]]
for database in databases:
    database.execute("begin exclusive")
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_database_that_another_process_locks_for_longer_than_mlflow_waits_loses_nothing(
    tmp_path, empty_store, monkeypatch
):
    """From before the first record, and after it."""
    stores = [Path(shutil.copy(empty_store, tmp_path / name)) for name in ("first.db", "second.db")]
    first, second = (RecordedSearch(tmp_path / path.stem, f"sqlite:///{path}") for path in stores)
    second.train(0)
    until(lambda: ended_runs(stores[1]) == 1)
    command = [sys.executable, "-c", HOLD_LOCKS, *map(str, stores)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        is_locked, turned_away = mlflow_projection._is_locked, set()

        def note(error):
            locked = is_locked(error)
            if locked:
                turned_away.add(threading.current_thread().name)
                if len(turned_away) == 2 and not holder.stdin.closed:
                    holder.stdin.close()  # let it go on
            return locked

        monkeypatch.setattr(mlflow_projection, "_is_locked", note)
        monkeypatch.setattr(mlflow_projection, "_LOCKED_SECONDS", 600)
        first.train(0, 1)
        second.train(1, 2)
        first.close()
        second.close()
        assert len(turned_away) == 2, "MLflow has given up waiting in both"
        assert holder.wait() == 0, "it held the lock to the end"
    for search, path in ((first, stores[0]), (second, stores[1])):
        assert search.said == []
        require_equal(search.folder, MlflowClient(f"sqlite:///{path}"))


def ended_runs(store):
    with contextlib.closing(sqlite3.connect(store)) as database:
        return database.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0]


class Patient:
    """A trainer that learns nothing; from the third trial on, the second epoch waits for a file."""

    def __init__(self, trial_id, marker):
        self.waits = trial_id >= trial_name(2)
        self.marker = marker

    def run_epoch(self, epoch, should_stop):
        deadline = time.monotonic() + 1200
        while self.waits and epoch == EPOCHS and not os.path.exists(self.marker):  # noqa: PTH110
            assert time.monotonic() < deadline, "nobody let it go on"
            time.sleep(0.05)
        return EpochOutcome({"miou": 0.1 * epoch, "train_loss": 1 / epoch})

    def state(self):
        return {}

    def load_state(self, state):
        pass

    def weights(self):
        return {}


class PatientTrainable(SegmentationTrainable):
    def build(self, config, data, compute):
        return Patient(self._assignment[TRIAL_ID], f"{self._assignment[SEARCH_FOLDER]}/go-on")


class Onlooker(PlainView):
    """Sees the search begin, has the server killed and started again, and lets the search go on when it is back."""

    def __init__(self, server, marker):
        super().__init__(Console(file=io.StringIO(), width=200))
        self.server = server
        self.marker = marker
        self.said = []
        self.ended = 0

    def trial_ended(self, snapshot, state):
        super().trial_ended(snapshot, state)
        self.ended += 1
        if self.ended == 2:
            self.server.kill()

    def say(self, line):
        super().say(line)
        if "MLflow" in line:
            self.said.append(line)
        if "does not take records" in line:
            self.server.start()
        if "takes records again" in line:
            self.marker.touch()


def test_a_search_whose_server_dies_and_comes_back_ends_as_if_nothing_had_been(
    ray_address, search_cache, make_small_search, tmp_path, server
):
    values = make_small_search(tmp_path / "runs", search_cache, tracking={"uri": server.uri})
    values["space"] = {
        "model": {"encoder": "resnet18", "encoder_weights": "none"},
        "optimizer": {"learning_rate": {"low": 1e-4, "high": 1e-2}, "warmup_epochs": 0},
    }
    values |= {"baselines": "none", "budget": {"trials": 6, "max_epochs": EPOCHS}}
    config = SearchConfig.model_validate(values).absolute()
    server.start()
    view = Onlooker(server, Path(config.folder, "go-on"))
    outcome = run_search(config, resume=False, address=ray_address, view=view, say=view.say, trainable=PatientTrainable)
    assert [trial.state for trial in outcome.trials[:4]] == ["completed"] * 4
    assert all(trial.attempts == 1 for trial in outcome.trials)
    assert len(view.said) == 2, "once when it goes down, once when it is back"
    require_equal(Storage(config.folder), MlflowClient(server.uri))
