"""The soak in its quick form, and whether its audit would notice what it looks for."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mlflow.tracking import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from waiting import PATIENCE

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]

SOAK = Path(__file__).parents[1] / "soak.py"
TRIALS = 12


@pytest.fixture(scope="module")
def soak(tmp_path_factory):
    """The folder of a quick soak, and what it printed."""
    folder = tmp_path_factory.mktemp("soak")
    options = f"--trials {TRIALS} --driver-kills 1 --server-restarts 1 --trial-kills 2 --max-attempts 3"
    command = [sys.executable, str(SOAK), *options.split(), "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=6 * PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture
def audit(monkeypatch):
    monkeypatch.syspath_prepend(SOAK.parent)
    from soak_audit import audit

    return audit


def test_nothing_is_lost_or_done_twice_when_trials_driver_and_tracker_are_killed(soak):
    counts = {name: int(count) for name, count in re.findall(r"^ *(.+?) +(\d+)$", soak[1], flags=re.MULTILINE)}
    assert counts["trial processes killed"] == 2
    assert counts["drivers killed"] == counts["servers killed"] == 1
    assert counts["trials"] == TRIALS
    assert counts["failed"] == counts["diverged"] == 1
    assert counts["processes left over"] == counts["duplicates"] == counts["losses"] == 0
    assert "(raylet)" not in (soak[0] / "driver.log").read_text(), "Ray's own words on a process that died"


def test_the_audit_finds_every_kind_of_loss_and_duplicate(soak, audit, tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(soak[0], folder)
    damage_record(folder)
    damage_store(folder / "mlflow.db")
    double_in_journal(folder / "soak" / "optuna.journal", "t0010")
    found = audit(folder, TRIALS, repeats=0)
    assert_found(found.losses, "record of t0000 is missing")
    assert_found(found.losses, "t0002 epoch 2 is")
    assert_found(found.duplicates, "miou of t0003 has 2 points in epoch 1")
    assert_found(found.losses, "miou of t0004 differs")
    assert_found(found.losses, "run t0005 is still RUNNING")
    assert_found(found.duplicates, "run of t0006 is there 2 times")
    assert_found(found.losses, "run of t0008 is missing")
    assert_found(found.duplicates, "t0009 trained epoch 1 in start 9")
    assert_found(found.duplicates, "epochs were begun again")
    assert_found(found.duplicates, "copy of t0010 is there 2 times")
    assert_found(found.losses, "t0011 ended as unfinished")


def assert_found(findings, text):
    assert any(text in finding for finding in findings), f"{text!r} is not in {findings}"


def damage_record(folder):
    trials = folder / "soak" / "trials"
    shutil.rmtree(trials / "t0000")
    end = json.loads((trials / "t0002" / "end.json").read_text())
    end["history"][1]["metrics"]["trained_epochs"] += 1
    (trials / "t0002" / "end.json").write_text(json.dumps(end))
    (trials / "t0011" / "end.json").unlink()
    with (folder / "trained.jsonl").open("a") as log:
        log.write(json.dumps({"trial": "t0009", "epoch": 1, "attempt": 9, "moment": "begin", "durable": True}) + "\n")


def damage_store(path):
    client = MlflowClient(f"sqlite:///{path}")
    experiment = client.get_experiment_by_name("aerosweep").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    client.create_run(experiment, tags=runs["t0006"].data.tags)
    client.delete_run(runs["t0008"].info.run_id)
    client.update_run(runs["t0005"].info.run_id, status="RUNNING")
    client.log_metric(runs["t0003"].info.run_id, "miou", 0.5, timestamp=1, step=1)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("delete from metrics where key = 'miou' and run_uuid = ?", [runs["t0004"].info.run_id])


def double_in_journal(path, trial_id):
    study = optuna.load_study(study_name="soak", storage=JournalStorage(JournalFileBackend(str(path))))
    copies = [trial for trial in study.trials if trial.user_attrs["aerosweep_trial"] == trial_id]
    study.add_trials(copies)
