"""`ray job stop`: a search that runs as a Ray job is given the time to end as Ctrl-C would end it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
import yaml
from ray.job_submission import JobStatus, JobSubmissionClient

from trainable.storage import Storage
from trainable.trial_record import load_trials

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]

ENDED = {JobStatus.STOPPED, JobStatus.FAILED, JobStatus.SUCCEEDED}


def wait_until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(f"{what} did not happen within {seconds} s")


@pytest.fixture
def jobs(free_ports, tmp_path):
    """A client of a Ray cluster that takes jobs."""
    port, client, dashboard, agent = free_ports(4)
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    command += [f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=true", "--disable-usage-stats"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--dashboard-agent-listen-port={agent}"]
    command += [f"--ray-client-server-port={client}"]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    with (tmp_path / "ray.log").open("wb") as log:
        cluster = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        yield connected(f"http://127.0.0.1:{dashboard}")
    finally:
        os.killpg(cluster.pid, signal.SIGTERM)
        try:
            cluster.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()


def connected(address, seconds=90):
    deadline = time.monotonic() + seconds
    while True:
        try:
            client = JobSubmissionClient(address)
            client.list_jobs()
        except Exception:
            assert time.monotonic() < deadline, f"no job server at {address}"
            time.sleep(0.5)
        else:
            return client


def test_a_stopped_job_leaves_a_whole_record_and_says_how_to_go_on(jobs, tmp_path, make_small_search, search_cache):
    values = make_small_search(
        tmp_path / "runs", search_cache, baselines="none", budget={"trials": 4, "max_epochs": 40}
    )
    config = tmp_path / "search.yaml"
    config.write_text(yaml.safe_dump(values))
    folder = Storage(str(tmp_path / "runs" / "small"))
    job = jobs.submit_job(
        entrypoint=f"{sys.executable} -m aerosweep search {config}",
        # Ray's own patience is 3 seconds.
        runtime_env={"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}},
    )
    wait_until(lambda: any(len(trial.epochs) > 1 for trial in load_trials(folder)), "a second epoch")
    jobs.stop_job(job)
    wait_until(lambda: jobs.get_job_status(job) in ENDED, "the job's end")

    log = jobs.get_job_logs(job)
    assert jobs.get_job_status(job) == JobStatus.STOPPED
    assert "stopped early (SIGTERM)" in log
    assert f"aerosweep search {config} --resume" in log
    trials = load_trials(folder)
    assert all([epoch.epoch for epoch in trial.epochs] == [*range(1, len(trial.epochs) + 1)] for trial in trials)
    assert "driver.json" not in folder.names()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("aerosweep").experiment_id])
    assert len(runs) == len(trials) + 1
    status = {run.data.tags.get("aerosweep.trial"): run.info.status for run in runs}
    assert status.pop(None) == "KILLED"
    assert status == {trial.card.trial_id: "KILLED" if trial.end is None else "FINISHED" for trial in trials}
