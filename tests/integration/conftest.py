"""A real Ray for the integration tests: one small cluster a test session, started and stopped by its process id."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from ports import free_port
from sessions import programs_of
from waiting import PATIENCE, has_ended, wait_until


def wait_for_port(port, process):
    def listens():
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, f"a listener at port {port}", unless=has_ended(process))


@contextlib.contextmanager
def ray_head(log_folder, *options, environment, port=None):
    """A Ray head on loopback, with ports of its own: another test process has a cluster at the same time.

    Yields the process and its port, when its node can be worked on.
    """
    port, client, agent = port or free_port(), free_port(), free_port()
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", f"--port={port}"]
    command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats", f"--ray-client-server-port={client}"]
    command += [f"--dashboard-agent-listen-port={agent}", *options]
    said = log_folder / "ray.log"
    with said.open("wb") as log:
        variables = os.environ | environment | {"PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=variables)
    try:
        # Its port opens before that, and a driver that came then would find no node.
        started = "Ray runtime started."
        wait_until(
            lambda: started in said.read_text(), "the start of a Ray head", unless=has_ended(process, said.read_text)
        )
        yield process, port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            # The raylets end the workers; the rest would take half a minute, and has nothing to put away.
            wait_until(lambda: "raylet" not in "".join(programs_of(process.pid).values()), "their end", seconds=60)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def start_ray_head():
    """`ray_head` for tests, which cannot import from here."""
    return ray_head


@pytest.fixture(scope="session", autouse=True)
def no_tokens():
    """Ray without tokens, in this process and in what it starts.

    A process decides once whether its Ray wants them, by its first: one that had run a search on a Ray of its own, with
    a token, would then refuse what a cluster without any asks of it, and none of its trials would ever start.
    """
    os.environ["RAY_AUTH_MODE"] = "disabled"


@pytest.fixture(scope="session", autouse=True)
def patience_of_others():
    """What a busy machine is no reason for, to Ray and MLflow: by themselves they give up after a minute or less."""
    os.environ |= {
        "RAY_memory_monitor_refresh_ms": "0",  # no process is killed for the memory that its neighbours take
        "RAY_worker_register_timeout_seconds": "600",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
        "RAY_health_check_failure_threshold": "100",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": f"{PATIENCE:.0f}",
    }


@pytest.fixture(scope="session")
def ray_address(tmp_path_factory):
    """Address of a Ray cluster of two CPUs on this machine."""
    options = ["--num-cpus=2", "--include-dashboard=false"]
    with ray_head(tmp_path_factory.mktemp("ray"), *options, environment={}) as (_, port):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def start_jobs_cluster(tmp_path_factory):
    """`start_jobs_cluster(**environment)`: starts a Ray cluster that takes jobs; the address of its dashboard."""
    with contextlib.ExitStack() as started:

        def start(**environment):
            dashboard = free_port()
            options = ["--num-cpus=2", "--include-dashboard=true", "--dashboard-host=127.0.0.1"]
            options += [f"--dashboard-port={dashboard}"]
            # A job is run by the `python` on PATH.
            path = {"RAY_AUTH_MODE": "disabled", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
            head = ray_head(tmp_path_factory.mktemp("ray"), *options, environment=path | environment)
            process, _ = started.enter_context(head)
            wait_for_port(dashboard, process)
            return f"http://127.0.0.1:{dashboard}"

        yield start


@pytest.fixture(scope="module")
def jobs(start_jobs_cluster):
    """A client of a Ray cluster that takes jobs."""
    return connected(start_jobs_cluster())


def connected(address):
    from ray.job_submission import JobSubmissionClient

    def client():
        with contextlib.suppress(Exception):  # whatever a server raises that is still starting
            client = JobSubmissionClient(address)
            client.list_jobs()
            return client
        return None

    return wait_until(client, f"an answer of the job server at {address}")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A file with an empty database of MLflow's, which takes seconds to make one; to be copied."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("empty_store") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def search_cache(tmp_path_factory):
    """A cache folder that all searches of the session share."""
    return tmp_path_factory.mktemp("cache")


def small_search(storage, cache, **changes):
    """A search config of seconds: made images of 64x64, a small encoder."""
    values = {
        "name": "small",
        "dataset": {"layout": "synthetic", "images": 40, "size": "64x64"},
        "storage": str(storage),
        "space": {
            "model": {
                "architecture": ["unet", "deeplabv3plus"],
                "encoder": "tu-tf_mobilenetv3_small_100",
                "encoder_weights": "none",
            },
            "loss": {
                "name": ["cross_entropy", "tversky"],
                "alpha": {"low": 0.1, "high": 1.0},
                "beta": {"low": 0.1, "high": 1.0},
            },
            "optimizer": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}},
            "data": {"batch_size": 4, "crop": "64x64"},
        },
        "baselines": "seed",
        "budget": {"trials": 7, "max_epochs": 3},
        "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
        "confirm": {"top": 1},
        "report": {"write": False},  # it takes as long as the search; test_report.py has it written
        "runtime": {"precision": "fp32"},
        "resources": {"cache_dir": str(cache)},
    }
    return values | changes


@pytest.fixture(scope="session")
def make_small_search():
    """`small_search` for tests, which cannot import from here."""
    return small_search


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """URL of a bucket on an S3 server on loopback.

    One server for all: fsspec remembers the endpoint of the first file system that it made.
    """
    import boto3

    port = free_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }
    before = {name: os.environ.get(name) for name in environment}
    with (tmp_path_factory.mktemp("s3") / "log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log)
        os.environ.update(environment)
        try:
            wait_for_port(port, server)
            boto3.client("s3").create_bucket(Bucket="searches")
            yield "s3://searches"
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            server.kill()  # it keeps nothing
            server.wait()
