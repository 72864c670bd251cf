"""A confirmation with a real Ray and a real MLflow store: from fresh seeds, measured on val once, whatever happens."""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys

import mlflow
import pytest
import yaml
from sessions import wait_for_the_end_of
from waiting import PATIENCE, has_ended, wait_until

from search.config.search_config import SearchConfig
from search.decide.confirm_plan import FOLDER
from trainable.data.trial_data import open_trial_data
from trainable.measure.val_counts import ValCounts
from trainable.record.storage import Storage
from trainable.record.trial_record import VAL_COUNTS_FILE, VAL_FILE, TrialRecord, load_trials

pytestmark = pytest.mark.filterwarnings("default")

CONFIRM = {"top": 1, "seeds": 2, "best_of_each_loss": True}


def aerosweep(*arguments, cwd, **environment):
    command = [sys.executable, "-m", "aerosweep", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def ended(tmp_path_factory, make_small_search, search_cache):
    """The config file of a search that has ended: two losses, one of them a baseline."""
    place = tmp_path_factory.mktemp("ended")
    values = make_small_search(place / "runs", search_cache, confirm=CONFIRM, budget={"trials": 3, "max_epochs": 2})
    values["dataset"] |= {"scenes": 20}
    values["space"]["model"]["architecture"] = "unet"
    path = place / "search.yaml"
    path.write_text(yaml.safe_dump(values))
    done = aerosweep("search", path, cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "aerosweep confirm" in done.stdout
    return path


def copy_of(search, place, **changes):
    """The same search in a place of its own."""
    values = yaml.safe_load(search.read_text()) | {"storage": str(place / "runs")}
    values["confirm"] = values["confirm"] | changes
    shutil.copytree(search.parent / "runs", place / "runs")
    path = place / "search.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def search(ended, tmp_path):
    """A copy of the search that has ended."""
    return copy_of(ended, tmp_path)


@pytest.fixture(scope="module")
def confirmed(ended, tmp_path_factory):
    """A copy that went on to its confirmation, and what was printed."""
    path = copy_of(ended, tmp_path_factory.mktemp("confirmed"), after_search=True)
    done = aerosweep("search", path, "--resume", cwd=path.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return path, done.stdout


def runs_of(path):
    folder = Storage(str(path.parent / "runs" / "small"))
    return {run.spec.trial_id: run for run in load_trials(folder.child(FOLDER))}


def measured(path):
    """When each measurement on val was written, by run."""
    folder = path.parent / "runs" / "small" / FOLDER / "trials"
    return {file.parents[1].name: file.stat().st_mtime_ns for file in folder.glob(f"*/{VAL_FILE}")}


def tracked(path):
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{path.parent}/runs/mlflow.db")
    found = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    return client, {run.data.tags.get("aerosweep.trial", "search"): run for run in found}, len(found)


def dump(path):
    """All of MLflow's store, but for when it was asked."""
    done = subprocess.run(
        [sys.executable, "-c", "import sqlite3,sys;print('\\n'.join(sorted(sqlite3.connect(sys.argv[1]).iterdump())))",
         str(path.parent / "runs" / "mlflow.db")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def require_whole(path, seeds=2):
    """Every planned run completed, measured once and in MLflow once."""
    runs = runs_of(path)
    sources = {run.spec.confirms for run in runs.values()}
    assert set(runs) == {f"{source}-s{number}" for source in sources for number in range(1, seeds + 1)}
    assert {run.state for run in runs.values()} == {"completed"}
    assert {len(run.epochs) for run in runs.values()} == {2}
    assert all(run.val is not None for run in runs.values())
    client, found, count = tracked(path)
    assert count == len(found)
    assert set(runs) <= set(found)
    for name, run in runs.items():
        entry = found[name]
        assert (entry.info.status, entry.data.tags["aerosweep.role"]) == ("FINISHED", "confirm")
        assert entry.data.tags["aerosweep.confirms"] == run.spec.confirms
        assert entry.data.tags["mlflow.parentRunId"] == found["search"].info.run_id
        (point,) = client.get_metric_history(entry.info.run_id, "val/miou")
        assert (point.value, point.step) == (run.val.metrics["miou"], run.best.epoch)
        artifacts = {item.path for item in client.list_artifacts(entry.info.run_id)}
        assert {"val_counts.npz", "val_confusion_matrix.csv", "config.json"} <= artifacts
    assert (found["search"].info.status, found["search"].data.tags["aerosweep.state"]) == ("FINISHED", "completed")
    return runs


def test_a_confirmation_measures_fresh_seeds_on_val_and_says_what_it_means(confirmed):
    path, printed = confirmed
    runs = require_whole(path)
    losses = {run.spec.config["loss"]["name"] for run in runs.values()}
    assert losses == {"cross_entropy", "tversky"}
    assert {run.spec.config["seed"] for run in runs.values()} == {1, 2}
    for text in ("Confirmed on val: ", "of 5 scenes", "Claims against ", "95 %"):
        assert text in printed
    assert any(verdict in printed for verdict in ("supported", "not supported", "cannot be told"))
    rows = list(csv.DictReader(io.StringIO((path.parent / "runs/small/confirm/claims.csv").read_text())))
    assert {"miou", "thing_miou", "iou/person"} <= {row["metric"] for row in rows}
    assert len({row["reference"] for row in rows}) == 1


def test_what_is_recorded_of_val_is_its_images_and_makes_the_recorded_metrics(confirmed):
    path, _ = confirmed
    data = open_trial_data(*dataset_of(path))
    folder = Storage(str(path.parent / "runs" / "small")).child(FOLDER)
    for name, run in runs_of(path).items():
        record = TrialRecord(folder, name)
        counts = ValCounts.from_bytes(record.folder.read(record.val_file(record.val(), VAL_COUNTS_FILE)))
        assert counts.images == tuple(data.image_set.samples[index].id for index in data.splits.val)
        truth = data.cache.pixel_counts[list(data.splits.val)]
        assert (counts.counts[..., 0] + counts.counts[..., 1] == truth).all()
        assert (counts.adjusted_counts[..., 0] + counts.adjusted_counts[..., 1] == truth).all()
        tp, fn, fp = (counts.counts[..., place].sum(axis=0) for place in range(3))
        present = tp + fn > 0
        assert run.val.metrics["miou"] == pytest.approx((tp / (tp + fn + fp).clip(1))[present].mean())
        assert run.val.metrics["adjusted/tau"] == counts.tau


def dataset_of(path):
    config = SearchConfig.model_validate(yaml.safe_load(path.read_text()))
    return config.dataset, config.resources.cache_dir


def test_a_second_confirmation_and_a_sync_change_nothing_and_more_seeds_add_only_what_is_missing(confirmed, tmp_path):
    search = copy_of(confirmed[0], tmp_path)
    before, store = measured(search), dump(search)
    assert len(before) == len(runs_of(search)) > 0
    again = aerosweep("confirm", search, cwd=search.parent)
    assert again.returncode == 0, again.stdout + again.stderr
    assert aerosweep("sync", search, cwd=search.parent).returncode == 0
    assert measured(search) == before
    assert dump(search) == store

    more = aerosweep("confirm", search.parent / "runs" / "small", "--set", "confirm.seeds=3", cwd=search.parent)
    assert more.returncode == 0, more.stdout + more.stderr
    require_whole(search, seeds=3)
    after = measured(search)
    assert {name: when for name, when in after.items() if name in before} == before
    assert len(after) == len(before) * 3 // 2

    shown = aerosweep("leaderboard", search.parent / "runs" / "small", cwd=search.parent)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.index("Confirmed on val") < shown.stdout.index("dev scores")


def test_a_killed_confirmation_measures_nothing_twice_and_loses_nothing(search):
    command = [sys.executable, "-m", "aerosweep", "confirm", str(search)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=search.parent,
                              start_new_session=True)  # fmt: skip
    try:
        wait_until(lambda: measured(search), "the first measurement", unless=has_ended(driver))
    finally:
        os.killpg(driver.pid, signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL, "it has ended by itself"
    wait_for_the_end_of(driver.pid)
    before, durable = measured(search), {name: run.epochs for name, run in runs_of(search).items()}
    resumed = aerosweep("confirm", search, cwd=search.parent)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    runs = require_whole(search)
    after = measured(search)
    assert len(before) < len(after), "something was left to do"
    assert {name: after[name] for name in before} == before
    assert all(runs[name].epochs[: len(epochs)] == epochs for name, epochs in durable.items())


def test_what_cannot_be_confirmed_is_refused_with_its_reason(search, tmp_path):
    missing = aerosweep("confirm", tmp_path / "nowhere", cwd=tmp_path)
    assert missing.returncode == 2
    assert "must be the folder of a recorded search" in missing.stderr
    changed = aerosweep("confirm", search, "--set", "budget.max_epochs=5", cwd=tmp_path)
    assert changed.returncode == 2
    assert "budget.max_epochs was 2 and is 5" in changed.stderr
    assert runs_of(search) == {}


def test_a_machine_that_cannot_compile_is_told_before_anything_is_written(search, tmp_path):
    recorded = tmp_path / "runs" / "small" / "search.yaml"
    recorded.write_text(recorded.read_text().replace("compile: false", "compile: true"))  # on a machine that could
    for command, name in (("search", "another"), ("confirm", "small")):
        asked = ("--set", "runtime.compile=true", "--set", f"name={name}")
        nowhere = {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels")}
        done = aerosweep(command, search, *asked, cwd=tmp_path, **nowhere)
        assert done.returncode == 3, done.stdout + done.stderr
        assert "runtime.compile true needs a C++ compiler" in done.stderr
    assert not (tmp_path / "runs" / "another").exists()
    assert not runs_of(search)
