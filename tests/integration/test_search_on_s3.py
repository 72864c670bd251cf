"""A search whose record lies on S3: a real S3 server on loopback."""

import io
import threading

import mlflow
import pytest
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.record.driver_process import DriverProcess
from search.record.elapsed_time import ElapsedTime
from search.record.lease import Lease, SearchTakenError
from search.record.signs_of_life import current_holder
from search.run.launch import run_search
from trainable.errors import SearchFaultError
from trainable.network.trained_model import load_trained_model
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.filterwarnings("default")


def test_a_search_on_s3_is_recorded_extended_and_read_back(s3, search_cache, make_small_search, tmp_path):
    def launch(trials, resume):
        values = make_small_search(
            f"{s3}/all", search_cache, budget={"trials": trials, "max_epochs": 2}, baselines="none"
        )
        values["scheduler"] = {"grace_epochs": 2, "reduction_factor": 2}  # nothing is stopped early
        values["tracking"] = {"uri": f"sqlite:///{tmp_path}/mlflow.db"}
        view = PlainView(Console(file=io.StringIO()))
        # On a Ray of its own: its workers inherit the credentials from here.
        return run_search(
            SearchConfig.model_validate(values).absolute(), resume=resume, address=None, view=view, say=view.say
        )

    first = launch(2, resume=False)
    assert [trial.state for trial in first.trials] == ["completed", "completed"]
    second = launch(3, resume=True)
    assert second.trials[:2] == first.trials
    folder = Storage(f"{s3}/all/small")
    assert load_trials(folder) == second.trials
    assert {"leaderboard.csv", "optuna.journal", "search.json", "search.yaml", "trials"} <= set(folder.names())
    best = max(second.trials, key=lambda trial: trial.objective)
    assert load_trained_model(f"{s3}/all/small", best.spec.trial_id) is not None
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    assert len(runs) == 4


def test_a_search_on_s3_has_one_driver_and_forgets_one_that_is_silent(s3):
    folder, clock = Storage(f"{s3}/lease"), Clock()
    elsewhere = DriverProcess("elsewhere", 7, "another machine")
    silent = Lease(folder, clock=clock, here=elsewhere)
    silent.take()
    clock.meanwhile = silent.renew
    with pytest.raises(SearchTakenError, match=r"one driver at a time .*got process 7 on elsewhere"):
        Lease(folder, clock=clock).take()
    clock.meanwhile = None
    with Lease(folder, clock=clock) as lease:
        with pytest.raises(SearchTakenError, match="one driver at a time"):
            Lease(folder, clock=clock).take()
        with pytest.raises(SearchFaultError, match="which took over while this one was not heard of"):
            silent.folder.write("search.yaml", b"too late")
        lease.folder.write("search.yaml", b"in time")
    assert folder.read("search.yaml") == b"in time"
    assert current_holder(folder) is None


def test_of_two_drivers_that_take_the_same_number_on_s3_one_gets_it(s3):
    folder, start, outcomes = Storage(f"{s3}/race"), threading.Barrier(4), []

    def take():
        lease = Lease(folder)
        lease._generation = 1
        start.wait()
        try:
            lease._create()
        except SearchTakenError as taken:
            outcomes.append(str(taken))
        else:
            outcomes.append("holds it")

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("holds it") == 1
    assert sum("one driver at a time" in outcome for outcome in outcomes) == 3


class Clock(ElapsedTime):
    """Its time passes where somebody waits, and then `meanwhile` is done."""

    def __init__(self):
        self._now, self.meanwhile = 1000.0, None

    def now(self):
        return self._now

    def sleep(self, seconds):
        self._now += seconds
        if self.meanwhile is not None:
            self.meanwhile()
