"""A search that an earlier version recorded is resumed, extended, confirmed and reported.

`search_of_format_1.zip` holds 24 images of 64x64, a network of a few weights, and the record of a search as its driver
left it on Ctrl-C, with names of machines and folders replaced: four trials that have ended, of which one failed once;
t0004 two epochs on its way; a confirmation of which one run has ended, and one is two epochs on its way.
"""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import mlflow
import pytest
import yaml
from waiting import PATIENCE

from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.filterwarnings("default")  # MLflow's own


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """Where the search of the earlier version lies, its data, and the config that continues it."""
    place = tmp_path_factory.mktemp("older")
    with zipfile.ZipFile(Path(__file__).with_name("search_of_format_1.zip")) as archive:
        archive.extractall(place)
    (place / "runs").mkdir()
    (place / "recorded").rename(place / "runs" / "recorded")
    config = yaml.safe_load((place / "runs" / "recorded" / "search.yaml").read_text())
    config["dataset"]["description"]["root"] = str(place / "images")
    config["resources"]["cache_dir"] = str(place / "cache")
    (place / "search.yaml").write_text(yaml.safe_dump(config))
    return place


def aerosweep(place, *words):
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    command = [sys.executable, "-m", "aerosweep", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False, cwd=place, env=environment
    )


@pytest.fixture(scope="module")
def continued(older):
    """The search after a resume that extends it by a trial, confirms it and writes its report."""
    folder = older / "runs" / "recorded"
    before = files_below(folder)
    done = aerosweep(
        older,
        *("search", "search.yaml", "--output", "runs", "--resume"),
        *("--set", "budget.trials=7", "--set", "confirm.after_search=true", "--set", "report.write=true"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, before, done


def test_what_was_recorded_stays_as_it_was(continued):
    folder, before, _ = continued
    after = files_below(folder)
    for name, content in before.items():
        if name.startswith(("trials/", "confirm/trials/")) and "/checkpoints/" not in name and "/best/" not in name:
            assert after[name] == content, name


def test_every_trial_ends_and_the_one_on_its_way_goes_on_from_its_checkpoint(continued):
    folder, before, _ = continued
    trials = load_trials(Storage(str(folder)))
    assert [trial.spec.trial_id for trial in trials] == [f"t{number:04d}" for number in range(7)]
    assert all(trial.end for trial in trials)
    fifth = trials[4]
    assert [epoch.start for epoch in fifth.epochs] == [0, 0, 2, 2]
    assert json.loads((folder / "trials/t0004/attempts/0002.json").read_text())["continued_from"] == 2
    assert sorted(json.loads(data)["epoch"] for name, data in before.items() if "t0004/epochs" in name) == [1, 2]


def test_the_confirmation_goes_on_too(continued):
    folder, _, _ = continued
    runs = {run.spec.trial_id: run for run in load_trials(Storage(str(folder / "confirm")))}
    assert {"t0000-s1", "t0000-s2", "t0001-s1", "t0001-s2"} <= runs.keys()
    assert all(run.state == "completed" and run.val is not None for run in runs.values())
    assert [epoch.start for epoch in runs["t0000-s1"].epochs] == [0, 0, 2, 2]
    assert (runs["t0001-s1"].val.start, runs["t0001-s2"].val.start) == (0, 1)


def test_mlflow_and_the_report_have_old_and_new_trials(continued, older):
    folder, _, _ = continued
    client = mlflow.MlflowClient(f"sqlite:///{older}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("aerosweep")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {*(f"t{number:04d}" for number in range(7)), "t0001-s1", "t0001-s2"} <= runs.keys()
    for trial in load_trials(Storage(str(folder))):
        run = runs[trial.spec.trial_id]
        points = client.get_metric_history(run.info.run_id, "miou")
        assert [point.value for point in points] == [epoch.metrics["miou"] for epoch in trial.epochs]
        names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert {"confusion_matrix.csv", "per_image_counts.npz"} <= names
    assert {"val_counts.npz", "val_confusion_matrix.csv"} <= {
        artifact.path for artifact in client.list_artifacts(runs["t0001-s1"].info.run_id)
    }
    (page,) = folder.rglob("report.html")
    assert "t0001" in page.read_text()


def test_from_here_on_an_older_version_would_be_told(continued):
    folder, _, _ = continued
    assert json.loads((folder / "search.json").read_text())["format"] == 2


NEWER = {
    "search": ("search.json", ["search", "search.yaml", "--output", "runs", "--resume"]),
    "confirm": ("search.json", ["confirm", "runs/recorded"]),
    "sync": ("search.json", ["sync", "search.yaml", "--output", "runs"]),
    "leaderboard": ("trials/t0003/end.json", ["leaderboard", "runs/recorded"]),
}


@pytest.mark.parametrize("command", NEWER)
def test_a_search_of_a_newer_version_is_refused_and_left_alone(continued, older, command):
    folder, _, _ = continued
    name, words = NEWER[command]
    record = folder / name
    whole = record.read_bytes()
    record.write_text(json.dumps(json.loads(whole) | {"format": 3}))
    before = files_below(folder)
    try:
        done = aerosweep(older, *words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert f"{name} must be of a format that this version of aerosweep knows; got format 3" in done.stderr
        assert "Use the version of aerosweep that wrote it, or a later one" in done.stderr
        assert files_below(folder) == before
    finally:
        record.write_bytes(whole)
