"""A driver that is stopped, out of time or not alone, and what its resume finds."""

import re
import signal
import subprocess
import sys

import mlflow
import pytest
import yaml
from waiting import PATIENCE, has_ended, wait_until

from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.filterwarnings("default")

EPOCHS = 6


class Search:
    """A search in a folder of its own, of so many trials that it does not end by itself, however slow its stop is."""

    def __init__(self, place, values):
        self.place = place
        self.config = place / "search.yaml"
        self.config.write_text(yaml.safe_dump(values))
        self.folder = Storage(values["storage"]).child(values["name"])
        self.tracking = f"sqlite:///{values['storage']}/mlflow.db"
        self.printed = ""

    def command(self, *options):
        return [sys.executable, "-m", "aerosweep", "search", str(self.config), *options]

    def start(self):
        """Start its driver, and wait for two epochs."""
        with (self.place / "said").open("wb") as said:
            driver = subprocess.Popen(self.command(), stdout=said, stderr=said, cwd=self.place, start_new_session=True)
        try:
            wait_until(lambda: self.epochs() >= 2, "two durable epochs", unless=has_ended(driver, self.said))
        except BaseException:
            driver.kill()
            raise
        return driver

    def stop(self, driver, number):
        """Signal its driver and return the exit code."""
        try:
            driver.send_signal(number)
            return driver.wait(PATIENCE)
        finally:
            driver.kill()

    def resume(self, *options):
        return subprocess.run(
            self.command("--resume", *options), capture_output=True, text=True, timeout=4 * PATIENCE, check=False,
            cwd=self.place,
        )  # fmt: skip

    def said(self):
        return (self.place / "said").read_text()

    def epochs(self):
        return sum(len(trial.epochs) for trial in load_trials(self.folder))

    def runs(self):
        client = mlflow.MlflowClient(tracking_uri=self.tracking)
        return client, client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])


@pytest.fixture(scope="module")
def make_search(make_small_search, search_cache, tmp_path_factory):
    def make():
        place = tmp_path_factory.mktemp("search")
        budget = {"trials": 500, "max_epochs": EPOCHS}
        values = make_small_search(place / "runs", search_cache, budget=budget, baselines="none")
        return Search(place, values | {"scheduler": {"grace_epochs": EPOCHS, "reduction_factor": 2}})

    return make


@pytest.fixture(scope="module")
def interrupted(make_search):
    """A search that a second driver wanted to drive; then its own was stopped by Ctrl-C."""
    search = make_search()
    driver = search.start()
    try:
        search.second = search.resume()
        search.driver = driver.pid
        epochs = search.epochs()
        wait_until(lambda: search.epochs() > epochs, "another epoch", unless=has_ended(driver, search.said))
    finally:
        search.exit_code = search.stop(driver, signal.SIGINT)
    return search


def test_a_second_driver_is_refused_and_the_first_goes_on(interrupted):
    second = interrupted.second
    assert second.returncode == 75, second.stdout + second.stderr
    assert re.search(rf"one driver at a time .*got process {interrupted.driver} on", second.stderr)


def test_a_stopped_driver_says_how_to_go_on(interrupted):
    require_stopped(interrupted, interrupted.exit_code, signal.SIGINT)


def test_a_driver_that_is_told_to_end_does_so_too(make_search):
    search = make_search()
    require_stopped(search, search.stop(search.start(), signal.SIGTERM), signal.SIGTERM)


def require_stopped(search, code, number):
    said = search.said()
    assert code == 128 + number, said
    assert f"stopped early ({number.name})" in said
    assert "Traceback" not in said
    assert re.search(r"continue +.*aerosweep search .*search\.yaml --resume", said)
    _, runs = search.runs()
    assert runs
    assert not [run for run in runs if run.info.status == "RUNNING"]


def test_a_spent_time_budget_ranks_and_can_be_resumed(interrupted):
    before = load_trials(interrupted.folder)
    budget = ("--set", f"budget.trials={len(before) + 1}")
    # Spent before an epoch can end, on any machine.
    spent = interrupted.resume(*budget, "--set", "budget.hours=0.000001")
    assert spent.returncode == 0, spent.stdout + spent.stderr
    assert "stopped early (the time budget is spent)" in spent.stdout
    board = interrupted.folder.read("leaderboard.csv").decode().splitlines()
    assert len(board) == 1 + len(load_trials(interrupted.folder)) > len(before)

    resumed = interrupted.resume(*budget)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    trials = load_trials(interrupted.folder)
    for trial in before:
        assert trials[trial.spec.number].epochs[: len(trial.epochs)] == trial.epochs
    require_whole(interrupted, len(before) + 1)


def require_whole(search, count):
    """Every trial completed with each epoch once, in the record and in MLflow."""
    trials = load_trials(search.folder)
    assert [trial.state for trial in trials] == ["completed"] * count
    epochs = [*range(1, EPOCHS + 1)]
    assert all([epoch.epoch for epoch in trial.epochs] == epochs for trial in trials)
    client, runs = search.runs()
    runs = [run for run in runs if "aerosweep.trial" in run.data.tags]
    assert sorted(run.data.tags["aerosweep.trial"] for run in runs) == [trial.spec.trial_id for trial in trials]
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        assert [point.step for point in client.get_metric_history(run.info.run_id, "miou")] == epochs
