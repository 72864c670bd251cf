"""A search whose record lies on S3: a real S3 server on loopback."""

import io
import json
import time

import mlflow
import pytest
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.record.lease import Lease
from search.run.launch import run_search
from trainable.errors import InputError
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
    folder = Storage(f"{s3}/lease")

    def held(seconds_ago):
        facts = {"token": "x", "host": "elsewhere", "pid": 1, "time": time.time() - seconds_ago}
        folder.write("driver.json", json.dumps(facts).encode())

    held(60)
    with pytest.raises(InputError, match=r"one driver at a time .*got process 1 on elsewhere"):
        Lease(folder).__enter__()
    held(120)
    with Lease(folder), pytest.raises(InputError, match="one driver at a time"):
        Lease(folder).__enter__()
    assert folder.names() == []
