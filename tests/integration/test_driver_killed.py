"""One search whose driver is killed at five moments, and resumed each time: nothing is lost, and nothing done twice."""

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import mlflow
import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sessions import wait_for_the_end_of
from waiting import PATIENCE, has_ended, wait_until

from search.record.signs_of_life import current_holder
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]

TRIALS = 6
EPOCHS = 3
SLOTS = 2

# Where the driver is killed, one launch after the other: starting, first trials, around the record of a last epoch, the
# last trial, while MLflow writes. Two trials run at a time, and when one waits to be killed the other waits too.
# No launch can have passed the moment of a later one, however fast which trial is. The third ends with the first trial
# that gets to its last epoch, whichever that is: so it is the fourth that hands out t0005. That one's second epoch is
# durable when the fourth is killed, but only its worker knows: the fifth has something to tell MLflow.
MOMENTS = {
    "a folder": (
        "training .* 1",
        "training t0002 1",
        "before the record of .* 3",
        "after the record of t0005 2",
        "MLflow has metrics of t0005",
    ),
    "S3": (
        "training .* 1",
        "training t0002 1",
        "after the record of .* 3",
        "before the record of t0005 3",
        "MLflow has closed t0005",
    ),
}


class Killed:
    """What a search was like after each kill, and what it is in the end."""

    def __init__(self, folder, work):
        self.folder = folder
        self.config = work / "search.yaml"
        self.log = work / "log"
        self.here = work / "log.here"
        self.said = work / "said"
        self.mlflow = f"sqlite:///{work}/mlflow.db"
        self.places = []
        self.after_kills = []
        self.trained_again = []

    def launch(self, moment, *options):
        self.here.unlink(missing_ok=True)
        command = [sys.executable, str(Path(__file__).with_name("killable_driver.py"))]
        command += [str(self.config), moment, str(self.log), *options]
        with self.said.open("wb") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)

    def kill_at(self, moment, *options):
        """Kill the driver alone, as an out-of-memory killer does; Ray's processes end by themselves."""
        with self.launch(moment, *options) as driver:
            try:
                self.wait_for(moment, driver)
            finally:
                driver.send_signal(signal.SIGKILL)
        assert driver.returncode == -signal.SIGKILL, "it ended by itself, at the moment at which it was to be killed"
        wait_for_the_end_of(driver.pid)
        self.places.append(self.place())
        self.after_kills.append(load_trials(self.folder))
        self.trained_again.append(self.trained_but_not_durable())

    def wait_for(self, moment, driver):
        wait_until(self.place, moment, unless=has_ended(driver, self.said.read_text))

    def place(self):
        """Where the first that waits to be killed says that it is."""
        first, line_end, _ = self.here.read_text().partition("\n") if self.here.exists() else ("", "", "")
        return first if line_end else None

    def trained_but_not_durable(self):
        durable = {(trial.spec.trial_id, epoch.epoch) for trial in self.after_kills[-1] for epoch in trial.epochs}
        return {key for key in self.trained() if key not in durable}

    def trained(self):
        """How often each epoch was trained."""
        words = [line.split() for line in self.log.read_text().splitlines()]
        return Counter((trial, int(epoch)) for kind, trial, epoch in words if kind == "trained")

    def observations(self):
        words = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(number), int(known)) for kind, number, known in words if kind == "suggested"]


@pytest.fixture(scope="module", params=list(MOMENTS))
def killed(request, make_small_search, search_cache, tmp_path_factory):
    work = tmp_path_factory.mktemp("killed")
    storage = f"{request.getfixturevalue('s3')}/killed" if request.param == "S3" else str(work / "runs")
    values = make_small_search(storage, search_cache, baselines="none")
    values |= {
        "budget": {"trials": TRIALS, "max_epochs": EPOCHS},
        "scheduler": {"grace_epochs": EPOCHS, "reduction_factor": 2},  # nothing is stopped early
        "tracking": {"uri": f"sqlite:///{work}/mlflow.db"},
        "resources": {"cache_dir": str(search_cache), "max_concurrent": SLOTS},
    }
    search = Killed(Storage(f"{storage}/small"), work)
    search.config.write_text(yaml.safe_dump(values))
    for place, moment in enumerate(MOMENTS[request.param]):
        search.kill_at(moment, *(["--resume"] if place else []))
    last = search.launch("never", "--resume")
    try:
        assert last.wait(timeout=2 * PATIENCE) == 0, search.said.read_text()
    finally:
        last.kill()
    return search


def test_each_kill_came_at_its_moment(killed, request):
    """What the record is like after it: a driver that was killed earlier or later would prove less."""
    moments = MOMENTS[request.node.callspec.params["killed"]]
    assert [bool(re.fullmatch(*both)) for both in zip(moments, killed.places, strict=True)] == [True] * len(moments)
    for place, trials, again in zip(killed.places, killed.after_kills, killed.trained_again, strict=True):
        event, trial_id, epoch = re.fullmatch(r"(.*) (t\d+) ?(\d*)", place).groups()
        trial = {trial.spec.trial_id: trial for trial in trials}[trial_id]
        if event == "training":
            assert (trial.epochs, trial.end) == ((), None)
        elif event == "before the record of":
            assert len(trial.epochs) == int(epoch) - 1
            assert (trial_id, int(epoch)) in again
        elif event == "after the record of":
            assert (len(trial.epochs), trial.end) == (int(epoch), None)
        else:
            assert len(trial.epochs) >= (EPOCHS if "closed" in event else 1)


def test_the_budget_is_finished_and_every_epoch_was_trained_once_into_the_state(killed):
    trials = load_trials(killed.folder)
    assert [trial.spec.trial_id for trial in trials] == [f"t{number:04d}" for number in range(TRIALS)]
    assert [trial.state for trial in trials] == ["completed"] * TRIALS
    for trial in trials:
        assert [epoch.epoch for epoch in trial.epochs] == [1, 2, 3]
        assert [epoch.metrics["train_loss"] for epoch in trial.epochs] == [1, 1 / 2, 1 / 3]


def test_what_was_durable_at_a_kill_stays_as_it_was(killed):
    final = {trial.spec.trial_id: trial for trial in load_trials(killed.folder)}
    assert len(killed.after_kills) == len(MOMENTS["S3"])
    for trials in killed.after_kills:
        for trial in trials:
            assert final[trial.spec.trial_id].spec == trial.spec
            assert final[trial.spec.trial_id].epochs[: len(trial.epochs)] == trial.epochs
            if trial.end is not None:
                assert final[trial.spec.trial_id] == trial
    assert max(len(trials) for trials in killed.after_kills) == TRIALS


def test_nothing_but_the_epochs_in_flight_was_trained_again(killed):
    again = {key for key, times in killed.trained().items() if times > 1}
    assert again <= set().union(*killed.trained_again)
    assert all(len(epochs) <= SLOTS for epochs in killed.trained_again)
    assert sum(killed.trained().values()) <= TRIALS * EPOCHS + SLOTS * len(killed.after_kills)


def test_every_suggestion_was_made_of_all_trials_before_it(killed):
    observations = killed.observations()
    assert {number for number, _ in observations} == set(range(TRIALS))
    assert all(known == number for number, known in observations)


def test_mlflow_has_a_run_a_trial_and_a_point_an_epoch(killed):
    client = mlflow.MlflowClient(tracking_uri=killed.mlflow)
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    trials = {run.data.tags.get("aerosweep.trial"): run for run in runs}
    assert len(runs) == len(trials) == TRIALS + 1
    for trial in load_trials(killed.folder):
        run = trials[trial.spec.trial_id]
        for name in ("miou", "train_loss", "objective"):
            points = client.get_metric_history(run.info.run_id, name)
            assert [(point.step, point.value, point.timestamp) for point in points] == [
                (epoch.epoch, epoch.metrics[name], epoch.time_ms) for epoch in trial.epochs
            ]


def test_the_optuna_journal_has_every_trial_once(killed, tmp_path):
    journal = tmp_path / "optuna.journal"
    journal.write_bytes(killed.folder.read("optuna.journal"))
    study = optuna.load_study(study_name="small", storage=JournalStorage(JournalFileBackend(str(journal))))
    copied = sorted(trial.user_attrs["aerosweep_trial"] for trial in study.trials)
    assert copied == [f"t{number:04d}" for number in range(TRIALS)]
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}


def test_nothing_half_written_and_no_lease_is_left(killed):
    assert current_holder(killed.folder) is None
    if killed.folder.is_local:
        assert not list(killed.folder.local_path.rglob(".writing-*"))
    for number in range(TRIALS):
        assert killed.folder.names(f"trials/t{number:04d}/checkpoints") == []
