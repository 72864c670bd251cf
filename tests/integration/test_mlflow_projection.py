"""The record as MLflow shows it, in a real SQLite store and through a real server."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from ports import free_port
from waiting import PATIENCE, has_ended, wait_until

from search.config.search_config import TrackingConfig
from search.project import background_projection, mlflow_projection, mlflow_tracker
from search.project.background_projection import BackgroundProjection, TrackerUnreachableError
from search.project.mlflow_projection import MlflowProjection, SearchIdentity, flat
from search.project.sync import SyncReport, sync
from search.project.tracking_uri import tracking_uri, ui_command
from trainable.errors import InputError
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, trial_name
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord

BEGAN_MS = 1_700_000_000_000
WITH_RETRIES = 120
"""Seconds that are far more than one attempt takes, and far less than MLflow's seven with the waits between them."""
SEARCH = SearchIdentity("0123abcd", "aeroscapes", {"budget": {"trials": 60}, "seed": 0}, "f1a9", "c0ffee", "miou")
CONFIG = {"loss": {"name": "tversky", "alpha": 0.7, "focal_gamma": None}, "data": {"horizontal_flip": True}, "seed": 3}
METRICS = {"miou": 0.25, "iou/person": 0.125, "learning_rate": 0.001}


def epoch_record(epoch, objective=0.25):
    metrics = METRICS | {"objective": objective}
    return EpochRecord(epoch, BEGAN_MS + 1000 * epoch, objective, 1, metrics, 1, "node7", "NVIDIA A100")


def trial(number=0, epochs=2, reason=None, objective=0.25, metrics=None):
    spec = TrialSpec(trial_name(number), number, {"loss.alpha": 0.7}, CONFIG, number == 0, BEGAN_MS + number)
    history = tuple(epoch_record(epoch, objective) for epoch in range(1, epochs + 1))
    if metrics is not None:
        history = tuple(replace(epoch, metrics=metrics) for epoch in history)
    end = EndMarker(reason, f"because it {reason}", BEGAN_MS + 90_000, 2, history) if reason else None
    return TrialSnapshot(spec, history, end, 2 if end else 1)


@dataclass
class Place:
    """A folder of searches with an MLflow database beside them."""

    root: Path
    uri: str
    artifacts: str

    @property
    def folder(self):
        return Storage(str(self.root / SEARCH.name))

    @property
    def client(self):
        return MlflowClient(self.uri)

    def projection(self, search=SEARCH):
        return MlflowProjection(self.uri, "aerosweep", self.artifacts, search, self.folder)

    def write(self, snapshot):
        """The trial's record, with the files of its best epoch."""
        record = TrialRecord(self.folder, snapshot.spec.trial_id)
        if record.folder.read("config.json") is None:
            record.create(snapshot.spec)
        for epoch in snapshot.epochs[len(record.epochs()) :]:
            record.append(epoch)
        first = EpochRecord(1, 0, 0.0, 1, {})
        for name in ("weights.pt", "confusion_matrix.csv", "per_image_counts.npz"):
            record.folder.write(record.best_file(first, name), f"{name} of {snapshot.spec.trial_id}".encode())
        if snapshot.end is not None:
            record.start_attempt("node7", "cpu", 0)
            record.end(snapshot.end.reason, snapshot.end.detail, snapshot.epochs)

    def runs(self):
        """All runs by name."""
        experiment = self.client.get_experiment_by_name("aerosweep")
        runs = self.client.search_runs([experiment.experiment_id])
        by_name = {run.info.run_name: run for run in runs}
        assert len(by_name) == len(runs), "a run is there twice"
        return by_name

    def points(self):
        """Every metric point, as rows of (metric, step, value, time)."""
        with contextlib.closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as database:
            trials = "select run_uuid from tags where key = 'aerosweep.trial'"
            query = f"select key, step, value, timestamp from metrics where run_uuid in ({trials})"
            return sorted(database.execute(query).fetchall())

    def dump(self):
        """Every row of every table."""
        with contextlib.closing(sqlite3.connect(self.uri.removeprefix("sqlite:///"))) as database:
            return list(database.iterdump())

    def states(self):
        """Status and state by run name."""
        return {name: (run.info.status, run.data.tags["aerosweep.state"]) for name, run in self.runs().items()}

    def lengths(self):
        """How many epochs each trial's run has."""
        trials = {name: run for name, run in self.runs().items() if name != SEARCH.name}
        return {name: len(self.client.get_metric_history(run.info.run_id, "miou")) for name, run in trials.items()}

    def artifact(self, name, path):
        run_id = self.runs()[name].info.run_id
        return Path(self.client.download_artifacts(run_id, path)).read_bytes()

    def artifacts_of(self, name):
        return {file.path for file in self.client.list_artifacts(self.runs()[name].info.run_id)}


@pytest.fixture
def place(empty_store, tmp_path):
    root = tmp_path / "my runs"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return Place(root, *tracking_uri(TrackingConfig(), str(root)))


@pytest.fixture(autouse=True)
def no_tracking_uri(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def expected_points(epochs):
    rows = [
        (key, epoch.epoch, value, epoch.time_ms)
        for epoch in map(epoch_record, range(1, epochs + 1))
        for key, value in epoch.metrics.items()
    ]
    return sorted(rows)


def test_a_trial_is_a_child_run_of_its_search(place):
    place.projection().project(trial(reason="completed"))
    runs = place.runs()
    parent, child = runs["aeroscapes"], runs["t0000"]
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {key: value for key, value in child.data.tags.items() if key.startswith("aerosweep.")} == {
        "aerosweep.search": "aeroscapes",
        "aerosweep.search_id": "0123abcd",
        "aerosweep.role": "trial",
        "aerosweep.trial": "t0000",
        "aerosweep.state": "completed",
        "aerosweep.reason": "because it completed",
        "aerosweep.git_commit": "c0ffee",
        "aerosweep.data_fingerprint": "f1a9",
        "aerosweep.node": "node7",
        "aerosweep.device": "NVIDIA A100",
        "aerosweep.attempts": "2",
        "aerosweep.baseline": "true",
    }
    assert child.data.params == {
        "loss.name": "tversky",
        "loss.alpha": "0.7",
        "data.horizontal_flip": "True",
        "seed": "3",
    }
    assert (child.info.start_time, child.info.end_time) == (BEGAN_MS, BEGAN_MS + 90_000)
    assert parent.data.params == {"budget.trials": "60", "seed": "0"}
    assert parent.data.tags["aerosweep.objective"] == "miou"
    assert parent.info.status == "RUNNING"


@pytest.mark.parametrize(
    ("reason", "status"),
    [("completed", "FINISHED"), ("pruned", "FINISHED"), ("failed", "FAILED"), ("diverged", "FAILED")],
)
def test_each_end_has_its_status(place, reason, status):
    place.projection().project(trial(reason=reason))
    run = place.runs()["t0000"]
    assert (run.info.status, run.data.tags["aerosweep.state"]) == (status, reason)


def test_points_have_the_times_of_the_record(place):
    place.projection().project(trial(epochs=3))
    assert place.points() == expected_points(3)
    assert place.runs()["t0000"].info.status == "RUNNING"


def test_there_is_one_point_a_metric_and_epoch_whoever_projects(place):
    first, second = place.projection(), place.projection()
    first.project(trial(epochs=0))
    first.project(trial(epochs=1))
    second.project(trial(epochs=1))
    second.project(trial(epochs=2))
    third = place.projection()
    third.project(trial(epochs=2))
    third.project(trial(epochs=3, reason="completed"))
    place.projection().project(trial(epochs=3, reason="completed"))
    assert place.points() == expected_points(3)
    assert place.runs().keys() == {"aeroscapes", "t0000"}


def test_a_search_of_the_same_name_has_its_own_runs(place):
    place.projection().project(trial())
    place.projection(replace(SEARCH, search_id="other")).project(trial())
    experiment = place.client.get_experiment_by_name("aerosweep")
    assert len(place.client.search_runs([experiment.experiment_id])) == 4


def forbid_writes(monkeypatch):
    """Any call that changes something, if only by putting the same thing there again, fails from here on."""

    def refuse(self, *args, **kwargs):
        raise AssertionError(f"a write: {args}, {kwargs}")

    calls = ("create_experiment", "create_run", "log_batch", "log_artifacts", "update_run", "set_terminated")
    for call in (*calls, "delete_run"):
        monkeypatch.setattr(MlflowClient, call, refuse)


def test_projecting_again_writes_nothing(place, monkeypatch):
    monkeypatch.setattr(mlflow_tracker, "_RUNS_A_PAGE", 2)
    snapshots = [trial(0, reason="completed"), trial(1, reason="failed", epochs=0), trial(2), trial(3, epochs=0)]
    for snapshot in snapshots:
        place.write(snapshot)
    projection = place.projection()
    for snapshot in snapshots:
        projection.project(snapshot)
    before = place.dump()
    forbid_writes(monkeypatch)
    for again in (projection, place.projection()):
        for snapshot in snapshots:
            again.project(snapshot)
    assert again.written == mlflow_projection.Written()
    assert place.dump() == before


def test_the_files_of_the_best_epoch_are_artifacts(place):
    place.write(trial(reason="completed"))
    place.projection().project(trial(reason="completed"))
    assert json.loads(place.artifact("t0000", "config.json"))["config"] == CONFIG
    assert place.artifact("t0000", "confusion_matrix.csv") == b"confusion_matrix.csv of t0000"
    assert place.artifact("t0000", "per_image_counts.npz") == b"per_image_counts.npz of t0000"
    assert place.artifacts_of("t0000") == {"config.json", "confusion_matrix.csv", "per_image_counts.npz"}
    assert (place.root / "mlartifacts").is_dir()


def test_an_unfinished_trial_has_its_config_alone(place):
    """A report of a running search reads it."""
    place.write(trial())
    place.projection().project(trial())
    assert place.artifacts_of("t0000") == {"config.json"}
    assert json.loads(place.artifact("t0000", "config.json"))["config"] == CONFIG


@pytest.mark.parametrize("call", ["create_run", "log_batch", "log_artifacts", "set_terminated"])
def test_a_call_that_was_carried_out_but_failed_doubles_nothing(place, monkeypatch, call):
    """A server that answers too late: the client cannot know that its call was carried out."""
    place.write(trial(epochs=3, reason="completed"))
    projection = place.projection()
    carry_out = getattr(MlflowClient, call)

    def fail_afterwards(*args, **kwargs):
        carry_out(*args, **kwargs)
        raise TimeoutError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, fail_afterwards)
        for _ in range(3):
            with contextlib.suppress(TimeoutError):
                projection.project(trial(epochs=3, reason="completed"))
    projection.project(trial(epochs=3, reason="completed"))
    assert place.runs().keys() == {"aeroscapes", "t0000"}
    assert place.points() == expected_points(3)
    assert place.runs()["t0000"].info.status == "FINISHED"


def test_a_trial_that_ended_before_it_was_told_has_all_its_tags_from_the_start(place, monkeypatch):
    """Tags that come later are a commit more, and trials end faster than a database on a slow disk commits."""
    tags_later = []
    log_batch = MlflowClient.log_batch

    def note_tags(client, run_id, metrics=(), params=(), tags=(), **options):
        tags_later.append([tag.key for tag in tags])
        log_batch(client, run_id, metrics, params, tags, **options)

    projection = place.projection()
    projection.project(trial(epochs=0))
    monkeypatch.setattr(MlflowClient, "log_batch", note_tags)
    projection.project(trial(number=1, epochs=3, reason="pruned"))
    assert tags_later == [[]]
    assert place.states()["t0001"] == ("FINISHED", "pruned")


def test_an_epoch_of_more_metrics_than_a_batch_takes_is_logged_as_a_whole(place, monkeypatch):
    """The objective goes last: an epoch that lost its second batch is not taken for logged."""
    metrics = {"objective": 0.25} | {f"iou/{number}": 0.5 for number in range(900)}
    projection = place.projection()
    projection.project(trial(epochs=0))
    log_batch = MlflowClient.log_batch
    calls = []

    def lose_all_from_the_second_on(*args, **kwargs):
        calls.append(args)
        if len(calls) > 1:
            raise ConnectionError
        log_batch(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", lose_all_from_the_second_on)
        with pytest.raises(ConnectionError):
            projection.project(trial(epochs=1, metrics=metrics))
    projection.project(trial(epochs=1, metrics=metrics))
    assert len(place.points()) == 901


def test_doubles_made_by_two_processes_at_once_are_settled_alike(place):
    """The run that has points already is the one that goes on; the other is deleted, and so is a second parent."""
    first, second = place.projection(), place.projection()
    numbers = range(5)  # one alone might choose right by chance
    for projection in (first, second):
        projection._open()  # both have seen that there is nothing
    first._open()._open_parent(BEGAN_MS)
    for projection, epochs in ((first, 0), (second, 1)):
        for number in numbers:
            projection.project(trial(number, epochs))
    for epochs in (2, 3):
        later = place.projection()
        for number in numbers:
            later.project(trial(number, epochs))
    experiment = place.client.get_experiment_by_name("aerosweep").experiment_id
    for number in numbers:
        doubles = place.client.search_runs([experiment], f"tags.`aerosweep.trial` = '{trial_name(number)}'")
        lengths = [len(place.client.get_metric_history(run.info.run_id, "miou")) for run in doubles]
        assert lengths == [3]
    parent = place.runs()["aeroscapes"].info.run_id
    children = [run for name, run in place.runs().items() if name != "aeroscapes"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent}


def test_a_double_that_may_not_be_deleted_stays_and_holds_up_nothing(place, monkeypatch):
    first, second = place.projection(), place.projection()
    for projection in (first, second):
        projection._open()
    for projection, epochs in ((first, 0), (second, 1)):
        projection.project(trial(0, epochs))

    def forbid(self, run_id):
        raise MlflowException("Permission denied")

    monkeypatch.setattr(MlflowClient, "delete_run", forbid)
    place.projection().project(trial(0, epochs=2))
    experiment = place.client.get_experiment_by_name("aerosweep").experiment_id
    doubles = place.client.search_runs([experiment], "tags.`aerosweep.trial` = 't0000'")
    lengths = [len(place.client.get_metric_history(run.info.run_id, "miou")) for run in doubles]
    assert sorted(lengths) == [0, 2]


def test_runs_that_the_user_deleted_are_filled_in_again(place):
    """In the middle of a search; of one that had ended already it is seen when the search ends."""
    projection = place.projection()
    projection.project(trial(0, epochs=1))
    projection.project(trial(1, epochs=2, reason="completed"))
    for run in place.runs().values():
        place.client.delete_run(run.info.run_id)
    snapshots = [trial(0, epochs=2, reason="completed"), trial(1, epochs=2, reason="completed")]
    projection.project(snapshots[0])
    projection.forget()
    for snapshot in snapshots:
        projection.project(snapshot)
    projection.finish(snapshots, set(), live=False)
    assert place.lengths() == {"t0000": 2, "t0001": 2}
    assert place.states().keys() == {"aeroscapes", "t0000", "t0001"}


def test_a_parent_that_the_user_deleted_is_made_again_with_its_children(place):
    projection = place.projection()
    snapshots = [trial(number, reason="completed") for number in range(2)]
    for snapshot in snapshots:
        projection.project(snapshot)
    place.client.delete_run(place.runs()["aeroscapes"].info.run_id)
    projection.finish(snapshots, set(), live=False)
    runs = place.runs()
    parent = runs.pop("aeroscapes")
    assert parent.info.status == "FINISHED"
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}


def test_a_store_that_is_replaced_by_an_empty_one_is_filled_again(place):
    """As a server that comes back without its data."""
    projection = place.projection()
    snapshots = [trial(0, reason="completed"), trial(1, epochs=1)]
    for snapshot in snapshots:
        projection.project(snapshot)
    empty_the_store(place)
    projection.project(trial(1, reason="completed"))
    assert place.lengths() == {"t0001": 2}
    projection.forget()
    projection.project(trial(0, reason="completed"))
    assert place.lengths() == {"t0000": 2, "t0001": 2}


def empty_the_store(place):
    """Of experiments, too: what is left is a store that nobody has used."""
    with contextlib.closing(sqlite3.connect(place.uri.removeprefix("sqlite:///"))) as database:
        tables = ("tags", "params", "metrics", "latest_metrics", "runs", "experiment_tags")
        for table in tables:
            database.execute(f"delete from {table}")
        database.execute("delete from experiments where name = 'aerosweep'")
        database.commit()


def test_a_config_that_did_not_reach_the_server_is_not_forgotten(place, monkeypatch):
    """A run without it cannot be reported."""
    place.write(trial())
    projection = place.projection()

    def lose(*args):
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifacts", lose)
        with pytest.raises(ConnectionError):
            projection.project(trial())
    projection.project(trial())
    assert place.artifacts_of("t0000") == {"config.json"}


def test_a_deleted_experiment_is_an_error_with_its_remedy(place):
    remembering = place.projection()
    remembering.project(trial())
    place.client.delete_experiment(place.client.get_experiment_by_name("aerosweep").experiment_id)
    for projection in (place.projection(), remembering):
        with pytest.raises(InputError, match=r"mlflow experiments restore -x 1"):
            projection.project(trial(epochs=3))


def test_what_is_too_long_is_cut_and_what_is_too_much_is_split(place):
    spec = replace(trial().spec, config={f"key{number}": number for number in range(250)} | {"long": "x" * 7000})
    end = EndMarker("failed", "y" * 9000, BEGAN_MS, 1, ())
    place.projection().project(TrialSnapshot(spec, (), end))
    run = place.runs()["t0000"]
    assert len(run.data.params) == 251
    assert run.data.params["long"] == "x" * 5999 + "…"
    assert run.data.tags["aerosweep.reason"] == "y" * 4999 + "…"


def test_a_config_is_flattened():
    config = {"a": {"b": 1, "c": {"d": None, "e": False}}, "f": [1, {"g": 2}], "h": {}, "odd key?": "x"}
    assert flat(config) == {"a.b": "1", "a.c.e": "False", "f": '[1, {"g": 2}]', "odd key_": "x"}


def test_an_unfinished_trial_of_a_dead_search_is_interrupted_until_it_goes_on(place):
    interrupted, running = ("KILLED", "interrupted"), ("RUNNING", "running")
    projection = place.projection()
    projection.project(trial(epochs=1))
    projection.finish([trial(epochs=1)], set(), live=True)
    assert place.states() == {"aeroscapes": running, "t0000": running}
    projection.finish([trial(epochs=1)], set(), live=False)
    assert place.states() == {"aeroscapes": interrupted, "t0000": interrupted}
    next_launch = place.projection()
    next_launch.project(trial(epochs=1))
    assert place.states()["t0000"] == interrupted, "it has not gone on yet"
    next_launch.project(trial(epochs=2))
    assert place.states() == {"aeroscapes": running, "t0000": running}
    next_launch.project(trial(epochs=3, reason="completed"))
    next_launch.finish([trial(epochs=3, reason="completed")], set(), live=False)
    assert place.states() == {"aeroscapes": ("FINISHED", "completed"), "t0000": ("FINISHED", "completed")}
    assert place.points() == expected_points(3)


def test_the_parent_sums_up_the_search(place):
    snapshots = [
        trial(0, reason="completed", objective=0.5),
        trial(1, reason="pruned", objective=0.25),
        trial(2, reason="failed", objective=0.75),
        trial(3, reason="diverged", objective=0.0),
    ]
    projection = place.projection()
    for snapshot in snapshots:
        projection.project(snapshot)
    projection.finish(snapshots, set(), live=False)
    parent = place.runs()["aeroscapes"]
    assert parent.data.metrics == {
        "best_objective": 0.5,
        "trials/completed": 1.0,
        "trials/pruned": 1.0,
        "trials/diverged": 1.0,
        "trials/failed": 1.0,
        "trials/unfinished": 0.0,
    }
    assert (parent.info.status, parent.info.end_time) == ("FINISHED", BEGAN_MS + 90_000)


def test_a_search_of_failed_trials_has_failed(place):
    projection = place.projection()
    projection.project(trial(reason="failed", epochs=0))
    projection.finish([trial(reason="failed", epochs=0)], set(), live=False)
    parent = place.runs()["aeroscapes"]
    assert (parent.info.status, parent.data.tags["aerosweep.state"]) == ("FAILED", "failed")


def test_a_search_without_trials_leaves_nothing(place):
    place.projection().finish([], set(), live=False)
    assert place.client.get_experiment_by_name("aerosweep") is None


def test_weights_of_the_keepers_are_logged_once(place):
    snapshots = [trial(number, reason="completed") for number in range(3)]
    projection = place.projection()
    for snapshot in snapshots:
        place.write(snapshot)
        projection.project(snapshot)
    place.folder.delete("trials/t0002/best/0001/weights.pt")
    for again in (projection, projection, place.projection()):
        again.finish(snapshots, {"t0001", "t0002"}, live=False)
        place.folder.write("trials/t0001/best/0001/weights.pt", b"must not be logged")
    assert place.artifact("t0001", "weights.pt") == b"weights.pt of t0001"
    assert place.runs()["t0001"].data.tags["aerosweep.weights"] == "1"
    assert "weights.pt" not in place.artifacts_of("t0000")
    assert "weights.pt" not in place.artifacts_of("t0002")
    assert projection.written.weights == 1


def write_search(place):
    snapshots = [trial(0, reason="completed"), trial(1, reason="pruned", objective=0.125), trial(2, epochs=1)]
    for snapshot in snapshots:
        place.write(snapshot)


def test_a_sync_fills_in_what_is_missing_and_a_second_one_changes_no_row(place, monkeypatch):
    write_search(place)
    place.projection().project(trial(0, epochs=1))
    assert sync(place.folder, place.projection(), {"t0000"}, live=False) == SyncReport(3, runs=2, epochs=4, weights=1)
    before = place.dump()
    forbid_writes(monkeypatch)
    assert sync(place.folder, place.projection(), {"t0000"}, live=False) == SyncReport(3)
    assert place.dump() == before
    assert place.states() == {
        "aeroscapes": ("KILLED", "interrupted"),
        "t0000": ("FINISHED", "completed"),
        "t0001": ("FINISHED", "pruned"),
        "t0002": ("KILLED", "interrupted"),
    }


def test_a_sync_beside_a_running_search_interrupts_nothing(place):
    write_search(place)
    for _ in range(2):
        sync(place.folder, place.projection(), set(), live=True)
        assert place.runs()["t0002"].info.status == "RUNNING"
        assert place.runs()["aeroscapes"].info.status == "RUNNING"


def test_a_trial_that_mlflow_refuses_does_not_keep_the_others_back(place):
    place.write(trial(0, metrics={"objective": 0.25, "a\nb": 1.0}))
    for number in (1, 2):
        place.write(trial(number, reason="completed"))
    report = sync(place.folder, place.projection(), set(), live=False)
    assert report.refused.keys() == {"t0000"}
    assert "a\\nb" in report.refused["t0000"] or "a\nb" in report.refused["t0000"]
    assert place.runs()["t0002"].info.status == "FINISHED"


class Refusing:
    """Stands for a projection that refuses some trials, and remembers which it was offered."""

    name = "MLflow"
    written = mlflow_projection.Written()

    def __init__(self, refused, error=ConnectionError):
        self.refused = refused
        self.error = error
        self.offered = []

    def project(self, trial):
        self.offered.append(trial.spec.number)
        if trial.spec.number in self.refused:
            raise self.error("refused")

    def finish(self, trials, keepers, live):
        pass


def test_a_sync_gives_up_when_the_tracker_refuses_three_trials_in_a_row(place):
    for number in range(8):
        place.write(trial(number, reason="completed"))
    scattered = Refusing({0, 1, 3, 4, 6, 7})
    assert len(sync(place.folder, scattered, set(), live=False).refused) == 6
    down = Refusing(set(range(1, 8)))
    with pytest.raises(ConnectionError):
        sync(place.folder, down, set(), live=False)
    assert down.offered == [0, 1, 2, 3]
    unreachable = Refusing(set(range(8)), TrackerUnreachableError)
    with pytest.raises(TrackerUnreachableError):
        sync(place.folder, unreachable, set(), live=False)
    assert unreachable.offered == [0]


def test_a_sync_with_nobody_there_raises_at_once(place):
    place.write(trial(reason="completed"))
    place.uri = f"http://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(TrackerUnreachableError, match="refused"):
        sync(place.folder, place.projection(), set(), live=False)
    assert time.monotonic() - began < WITH_RETRIES


PROJECT_IN_A_NEW_PROCESS = """
import sys
from search.config.search_config import TrackingConfig
from search.project.mlflow_projection import MlflowProjection, SearchIdentity
from search.project.tracking_uri import tracking_uri
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

root, name = sys.argv[1:]
folder = Storage(f"{root}/{name}")
uri, artifacts = tracking_uri(TrackingConfig(), root)
search = SearchIdentity("0123abcd", name, {}, "f", None, "miou")
projection = MlflowProjection(uri, "aerosweep", artifacts, search, folder)
assert "mlflow" not in sys.modules, "importing MLflow takes seconds and belongs to the thread that projects"
trials = load_trials(folder)
for trial in trials:
    projection.project(trial)
projection.finish(trials, {"t0000"}, live=False)
"""


def test_a_new_database_is_made_in_silence_and_without_a_folder_in_the_cwd(place, tmp_path):
    (place.root / "mlflow.db").unlink()
    write_search(place)
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROJECT_IN_A_NEW_PROCESS, str(place.root), SEARCH.name],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(Path(mlflow_projection.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert list(cwd.iterdir()) == []
    before = place.dump()
    projection = place.projection(replace(SEARCH, config={}))
    assert sync(place.folder, projection, {"t0000"}, live=False) == SyncReport(3)
    assert place.dump() == before


def test_the_users_own_limits_on_http_stand(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    place.projection().project(trial())
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"


@contextlib.contextmanager
def mlflow_ui(uri, port, cwd):
    """The command that a user is told, until it answers; then killed as a crash would."""
    program, *arguments = shlex.split(ui_command(uri))
    command = [str(Path(sys.executable).with_name(program)), *arguments, "--port", str(port), "--workers", "1"]
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (cwd / "server.log").open("ab") as log:
        server = subprocess.Popen(command, cwd=cwd, env=quiet, stdout=log, stderr=log, start_new_session=True)
    try:
        answer = f"http://127.0.0.1:{port}/health"
        wait_until(lambda: fetch(answer) == b"OK", "an answer of the server", unless=has_ended(server))
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except OSError:
        return None


def until(condition):
    wait_until(condition, "it")


def test_a_server_that_is_down_stalls_nothing_and_gets_what_it_missed(place, tmp_path, monkeypatch):
    monkeypatch.setattr(background_projection, "_LAST_RETRY_SECONDS", 1.0)
    port = free_port()
    server_uri = f"http://127.0.0.1:{port}"
    said = []
    over_http = MlflowProjection(server_uri, "aerosweep", None, SEARCH, place.folder)
    background = BackgroundProjection(over_http, said.append, first_retry=0.2)
    for number in range(3):
        place.write(trial(number, epochs=1))
        background.offer(trial(number, epochs=1))
    until(lambda: said)
    assert "MLflow at http://127.0.0.1" in said[0]

    with mlflow_ui(place.uri, port, tmp_path):
        until(lambda: len(said) == 2)
        assert said[1].endswith("takes records again")
        place.write(trial(0, epochs=2, reason="completed"))
        background.offer(trial(0, epochs=2, reason="completed"))
        until(lambda: place.runs()["t0000"].info.status == "FINISHED")
        run_id = place.runs()["t0000"].info.run_id
        csv = fetch(f"{server_uri}/get-artifact?path=confusion_matrix.csv&run_uuid={run_id}")
        assert csv == b"confusion_matrix.csv of t0000"

    background.offer(trial(1, epochs=3))
    until(lambda: len(said) == 3)
    began = time.monotonic()
    assert background.close(PATIENCE) == 1
    assert time.monotonic() - began < WITH_RETRIES, "a dead server holds up the end of a search"

    # The next launch writes to the database itself: what is there is there, whichever way it came.
    again = place.projection()
    for number, epochs in enumerate((2, 3, 1)):
        again.project(trial(number, epochs, "completed" if number == 0 else None))
    assert again.written.epochs == 2
    assert place.lengths() == {"t0000": 2, "t0001": 3, "t0002": 1}


def test_the_tracking_uri_of_the_config_comes_before_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from-environment:5000")
    assert tracking_uri(TrackingConfig(), str(tmp_path)) == ("http://from-environment:5000", None)
    assert tracking_uri(TrackingConfig(uri="https://here"), "s3://bucket/searches") == ("https://here", None)


def test_without_a_uri_the_database_lies_beside_the_searches(tmp_path):
    expected = (f"sqlite:///{tmp_path}/mlflow.db", f"file://{tmp_path}/mlartifacts")
    assert tracking_uri(TrackingConfig(), str(tmp_path)) == expected
    assert tracking_uri(TrackingConfig(), f"file://{tmp_path}") == expected


def test_a_relative_database_is_found_from_any_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    uri, artifacts = tracking_uri(TrackingConfig(uri="sqlite:///there/my.db"), "s3://bucket/searches")
    assert (uri, artifacts) == (f"sqlite:///{tmp_path}/there/my.db", f"file://{tmp_path}/there/mlartifacts")


def test_a_database_server_keeps_artifacts_beside_the_searches(tmp_path):
    uri = "postgresql://me:secret@host/db"
    assert tracking_uri(TrackingConfig(uri=uri), str(tmp_path)) == (uri, f"file://{tmp_path}/mlartifacts")
    assert tracking_uri(TrackingConfig(uri=uri), "s3://bucket/a") == (uri, "s3://bucket/a/mlartifacts")


@pytest.mark.parametrize(
    ("uri", "storage", "message"),
    [
        (
            None,
            "s3://bucket/searches",
            r"tracking.uri must be set .*; got storage s3://.*aerosweep server",
        ),
        ("./mlruns", "/runs", r"must be a server or a database.*got ./mlruns.*sqlite:///"),
        ("file:///mlruns", "/runs", r"must be a server or a database"),
    ],
)
def test_a_uri_that_cannot_work_is_refused(uri, storage, message):
    with pytest.raises(InputError, match=message):
        tracking_uri(TrackingConfig(uri=uri), storage)


def test_the_command_for_the_ui_can_be_pasted_and_shows_no_password():
    assert ui_command("sqlite:////my runs/mlflow.db") == "mlflow ui --backend-store-uri 'sqlite:////my runs/mlflow.db'"
    assert "secret" not in ui_command("postgresql://me:secret@host/db")
    assert ui_command("http://host:5000") == "python -m webbrowser http://host:5000"
    name = MlflowProjection("http://me:secret@host", "x", None, SEARCH, Storage("/nowhere")).name
    assert name == "MLflow at http://me:***@host"
