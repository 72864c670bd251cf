"""A driver that is killed, stopped or out of time, and what its resume finds."""

import re
import signal
import subprocess
import sys
import time

import mlflow
import pytest
import yaml

from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

SLOW = {"trials": 4, "max_epochs": 6}


def write_config(folder, values):
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def command(config, *options):
    return [sys.executable, "-m", "aerosweep", "search", str(config), *options]


def start(config, *options, cwd):
    return subprocess.Popen(
        command(config, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd,
        start_new_session=True,
    )  # fmt: skip


def finish(config, *options, cwd):
    return subprocess.run(command(config, *options), capture_output=True, text=True, timeout=300, check=False, cwd=cwd)


def wait_for_epochs(folder, count, process, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        durable = sum(len(trial.epochs) for trial in load_trials(folder))
        if durable >= count:
            return durable
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)
    raise AssertionError(f"no {count} epochs within {seconds} s")


@pytest.fixture
def config(tmp_path, make_small_search, search_cache):
    values = make_small_search(tmp_path / "runs", search_cache, budget=SLOW, baselines="none")
    values["scheduler"] = {"grace_epochs": 6, "reduction_factor": 2}
    return write_config(tmp_path, values)


def require_whole(folder, tracking):
    """Every trial completed with each epoch once, in the record and in MLflow."""
    trials = load_trials(folder)
    assert [trial.state for trial in trials] == ["completed"] * 4
    assert all([epoch.epoch for epoch in trial.epochs] == [1, 2, 3, 4, 5, 6] for trial in trials)
    client = mlflow.MlflowClient(tracking_uri=tracking)
    experiment = client.get_experiment_by_name("aerosweep")
    runs = [run for run in client.search_runs([experiment.experiment_id]) if "aerosweep.trial" in run.data.tags]
    assert sorted(run.data.tags["aerosweep.trial"] for run in runs) == ["t0000", "t0001", "t0002", "t0003"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "miou")]
        assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_driver_says_how_to_go_on(config, tmp_path, number, code):
    folder = Storage(str(tmp_path / "runs" / "small"))
    driver = start(config, cwd=tmp_path)
    wait_for_epochs(folder, 2, driver)
    asked = time.monotonic()
    driver.send_signal(number)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == code, output
    assert time.monotonic() - asked < 45
    assert "Traceback" not in output
    assert re.search(r"continue +.*aerosweep search .*search\.yaml --resume", output)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    assert not [run for run in runs if run.info.status == "RUNNING"]


@pytest.mark.filterwarnings("default")
def test_a_second_driver_is_refused_and_the_first_goes_on(config, tmp_path):
    folder = Storage(str(tmp_path / "runs" / "small"))
    # So many trials that it is not done before the second has started, however slow the machine is.
    driver = start(config, "--set", "budget.trials=200", cwd=tmp_path)
    wait_for_epochs(folder, 1, driver)
    second = finish(config, "--resume", cwd=tmp_path)
    assert second.returncode == 75
    assert re.search(rf"one driver at a time .*got process {driver.pid} on", second.stderr)
    assert driver.poll() is None
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)


@pytest.mark.filterwarnings("default")
def test_a_spent_time_budget_ranks_and_can_be_resumed(config, tmp_path):
    folder = Storage(str(tmp_path / "runs" / "small"))
    first = finish(config, "--set", "budget.hours=0.002", cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "time budget" in first.stdout
    assert (tmp_path / "runs" / "small" / "leaderboard.csv").exists()
    second = finish(config, "--resume", cwd=tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    require_whole(folder, f"sqlite:///{tmp_path}/runs/mlflow.db")
