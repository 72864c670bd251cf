"""`ray job stop`: a search that runs as a Ray job is given the time to end as Ctrl-C would end it."""

import sys

import mlflow
import pytest
import yaml
from ray.job_submission import JobStatus
from waiting import wait_until

from search.record.signs_of_life import current_holder
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]

ENDED = {JobStatus.STOPPED, JobStatus.FAILED, JobStatus.SUCCEEDED}


def test_a_stopped_job_leaves_a_whole_record_and_says_how_to_go_on(jobs, tmp_path, make_small_search, search_cache):
    # So many trials that it does not end by itself.
    values = make_small_search(
        tmp_path / "runs", search_cache, baselines="none", budget={"trials": 500, "max_epochs": 40}
    )
    config = tmp_path / "search.yaml"
    config.write_text(yaml.safe_dump(values))
    folder = Storage(str(tmp_path / "runs" / "small"))
    job = jobs.submit_job(
        entrypoint=f"{sys.executable} -m aerosweep search {config}",
        # Ray's own patience is 3 seconds.
        runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "600"}},
    )

    def too_late():
        return jobs.get_job_logs(job) if jobs.get_job_status(job) in ENDED else ""

    wait_until(lambda: any(len(trial.epochs) > 1 for trial in load_trials(folder)), "a second epoch", unless=too_late)
    jobs.stop_job(job)
    wait_until(lambda: jobs.get_job_status(job) in ENDED, "the job's end")

    log = jobs.get_job_logs(job)
    assert jobs.get_job_status(job) == JobStatus.STOPPED
    assert "stopped early (SIGTERM)" in log
    assert f"aerosweep search {config} --resume" in log
    trials = load_trials(folder)
    assert all([epoch.epoch for epoch in trial.epochs] == [*range(1, len(trial.epochs) + 1)] for trial in trials)
    assert current_holder(folder) is None
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    assert len(runs) == len(trials) + 1
    status = {run.data.tags.get("aerosweep.trial"): run.info.status for run in runs}
    assert status.pop(None) == "KILLED"
    assert status == {trial.spec.trial_id: "KILLED" if trial.end is None else "FINISHED" for trial in trials}
