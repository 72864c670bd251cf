"""`aerosweep submit` and `aerosweep job` against a real Ray that takes jobs."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from ports import free_port
from ray.job_submission import JobStatus
from waiting import PATIENCE, has_ended, wait_until

from search.record.signs_of_life import file_of, last_generation
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]

ENDED = {JobStatus.STOPPED, JobStatus.FAILED, JobStatus.SUCCEEDED}

OWN_LOSS = """
from torch import nn
from torch.nn.functional import cross_entropy


class Mine(nn.Module):
    def forward(self, logits_NCHW, target_NHW):
        return cross_entropy(logits_NCHW, target_NHW, ignore_index=255, reduction="sum") / target_NHW.numel()
"""


@pytest.fixture
def aerosweep(tmp_path, tmp_path_factory):
    """`aerosweep(*arguments, **environment)`: starts the command line in a folder of its own; it ends with the test."""
    processes, folder = [], tmp_path_factory.mktemp("printed")

    def start(*arguments, **environment):
        command = [sys.executable, "-m", "aerosweep", *map(str, arguments)]
        clean = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
        variables = clean | {"RAY_AUTH_MODE": "disabled"} | environment
        processes.append(Printing(command, folder / str(len(processes)), cwd=tmp_path, env=variables))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


class Printing(subprocess.Popen):
    """A process whose output can be read at any time."""

    def __init__(self, command, place, **options):
        self._files = [place.with_suffix(suffix) for suffix in (".out", ".err")]
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            super().__init__(command, stdout=out, stderr=err, **options)

    def said(self):
        return self._files[0].read_text()

    def complained(self):
        return self._files[1].read_text()


def done(process):
    return process.wait(2 * PATIENCE), process.said(), process.complained()


class Proxy:
    """A way to a port that can be cut and opened again, as an SSH tunnel is."""

    def __init__(self, address):
        self._target = int(address.rpartition(":")[2])
        self._port = free_port()
        self._sockets = []

    def open(self):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen()
        self._sockets = [listener]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return f"http://127.0.0.1:{self._port}"

    def cut(self):
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self._sockets += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one, other):
        with contextlib.suppress(OSError):  # it was cut
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)


def driver_of(folder):
    """Process id of the search's driver, or None."""
    generation = last_generation(folder)
    facts = {"given_back": True} if generation == 0 else json.loads(folder.read(file_of(generation)))
    return None if facts["given_back"] else facts["pid"]


def epochs_of(folder):
    return sum(len(trial.epochs) for trial in load_trials(folder))


def test_a_submitted_search_is_followed_to_its_end(jobs, aerosweep, tmp_path, make_small_search, search_cache):
    (tmp_path / "own_loss.py").write_text(OWN_LOSS)
    values = make_small_search(tmp_path / "runs", search_cache, baselines="none", budget={"trials": 2, "max_epochs": 1})
    values["space"]["loss"] = {"name": "own_loss:Mine"}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(values))
    address = jobs.get_address()
    code, said, complained = done(aerosweep("submit", "search.yaml", "--address", address))
    assert code == 0, said + complained
    job = re.search(r"^job +(aerosweep-small-\d{8}-\d{6}) \(sent: own_loss\.py, search\.yaml\)$", said, re.M)[1]
    assert re.search(rf"^follow +\S*aerosweep job logs {job} --follow --address {address}$", said, re.M)
    assert said.count("leaderboard  ") == 1, "the log was followed to its end, nothing twice"
    assert f"job          {job}: SUCCEEDED, exit code 0" in said
    trials = load_trials(Storage(str(tmp_path / "runs" / "small")))
    assert [trial.state for trial in trials] == ["completed"] * 2

    code, listed, _ = done(aerosweep("job", "status", "--address", address))
    assert (code, re.findall(rf"^{job}  SUCCEEDED", listed, re.M)) == (0, [f"{job}  SUCCEEDED"])
    code, log, _ = done(aerosweep("job", "logs", job, "--address", address))
    assert code == 0
    assert log in said

    # Without --resume a folder that has a search is refused: by the search itself, once, and that is the job's end.
    code, said, _ = done(aerosweep("submit", "search.yaml", "--address", address))
    assert code == 2
    assert said.count("a new search needs a folder of its own") == 1


def test_rays_own_command_submits_a_supervised_search_too(jobs, tmp_path, make_small_search, search_cache):
    folder = tmp_path / "sent"
    folder.mkdir()
    values = make_small_search(tmp_path / "runs", search_cache, baselines="none", budget={"trials": 1, "max_epochs": 1})
    (folder / "search.yaml").write_text(yaml.safe_dump(values))
    guide = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    line = re.search(r"^ray job submit .*$", guide, re.M)[0]
    assert "FOLDER" in line
    line = line.replace("FOLDER", str(folder)).replace("http://127.0.0.1:8265", jobs.get_address())
    words = [str(Path(sys.executable).with_name("ray")), *shlex.split(line)[1:]]
    ended = subprocess.run(
        words,
        env=os.environ | {"RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [trial.state for trial in load_trials(Storage(str(tmp_path / "runs" / "small")))] == ["completed"]


def test_a_search_outlives_its_driver_and_the_laptop_and_is_stopped(
    jobs, aerosweep, tmp_path, make_small_search, search_cache
):
    # So many trials that it does not end by itself.
    values = make_small_search(
        tmp_path / "runs", search_cache, name="long", baselines="none", budget={"trials": 500, "max_epochs": 60}
    )
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(values))
    folder = Storage(str(tmp_path / "runs" / "long"))
    proxy = Proxy(jobs.get_address())
    address = ("--address", proxy.open())

    code, said, _ = done(aerosweep("submit", "search.yaml", "--no-wait", *address))
    assert code == 0
    job = re.search(r"^job +(\S+)", said)[1]
    watcher = aerosweep("job", "logs", job, "--follow", *address)
    wait_until(watcher.said, "a line that it follows", unless=has_ended(watcher, watcher.complained))

    def too_late():
        return jobs.get_job_logs(job) if jobs.get_job_status(job) in ENDED else ""

    wait_until(lambda: epochs_of(folder) > 1, "a second epoch", unless=too_late)

    first = driver_of(folder)
    os.kill(first, signal.SIGKILL)
    proxy.cut()
    wait_until(lambda: driver_of(folder) not in (None, first), "the driver's return", unless=too_late)
    proxy.open()
    before = epochs_of(folder)
    wait_until(lambda: epochs_of(folder) > before, "an epoch of the new driver", unless=too_late)
    assert [each.status for each in jobs.list_jobs() if each.submission_id == job] == ["RUNNING"]

    laptop = aerosweep("job", "logs", job, "--follow", *address)
    wait_until(lambda: "Runtime env" in laptop.said(), "the log", unless=has_ended(laptop, laptop.complained))
    laptop.send_signal(signal.SIGINT)
    code, said, _ = done(laptop)
    assert code == 130
    assert f"the job goes on without us: {job}" in said
    assert re.search(rf"^stop +\S*aerosweep job stop {job} --address ", said, re.M)

    code, said, complained = done(aerosweep("job", "stop", job, *address))
    assert code == 0, complained
    assert "stopped early (SIGTERM)" in said
    assert re.search(r"^continue .*aerosweep submit search\.yaml .*--resume$", said, re.M)
    assert f"job          {job}: STOPPED, exit code 143" in said

    code, said, complained = done(watcher)
    assert code == 143
    assert complained.count("connection lost; the job goes on without it") == 1
    assert jobs.get_job_logs(job) in said, "the log, nothing left out and nothing twice"
    assert said.count("supervisor: the driver was ended by SIGKILL") == 1
    assert driver_of(folder) is None, "the lease was given back"
    for trial in load_trials(folder):
        assert [epoch.epoch for epoch in trial.epochs] == [*range(1, len(trial.epochs) + 1)]
        assert trial.attempts <= 2


def test_a_bad_config_never_reaches_the_cluster(jobs, aerosweep, tmp_path):
    before = len(jobs.list_jobs())
    (tmp_path / "search.yaml").write_text("name: bad\nstorage: runs\ndataset: {layout: synthetic}\n")
    code, said, complained = done(aerosweep("submit", "search.yaml", "--address", jobs.get_address()))
    assert (code, said) == (2, "")
    assert complained.startswith("error: storage must be a URL or an absolute path that all nodes of the cluster share")
    assert len(jobs.list_jobs()) == before


def test_a_job_that_is_not_there_is_named(jobs, aerosweep):
    for command in (("logs", "nobody", "--follow"), ("logs", "nobody"), ("status", "nobody"), ("stop", "nobody")):
        code, _, complained = done(aerosweep("job", *command, "--address", jobs.get_address()))
        assert code == 2
        assert "error: the cluster must have this job; got" in complained


def test_a_cluster_with_a_token_takes_orders_with_it_alone(start_jobs_cluster, aerosweep, tmp_path):
    token = "0123456789abcdef0123456789abcdef"
    address = start_jobs_cluster(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    config = "name: none\nstorage: /nowhere\ndataset: {layout: synthetic}\nspace: {model: {encoder_weights: none}}\n"
    (tmp_path / "search.yaml").write_text(config)
    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    for environment in ({}, with_token | {"RAY_AUTH_TOKEN": f"{token}0"}):
        code, said, complained = done(aerosweep("submit", "search.yaml", "--address", address, **environment))
        assert (code, said) == (2, "")
        assert re.search(r"takes orders only with its token; got .*\. Set RAY_AUTH_MODE=token, and have", complained)
        assert "Traceback" not in complained
    wait_until(
        lambda: (
            done(aerosweep("job", "status", "--address", address, **with_token))[:2]
            == (0, "no job was submitted here\n")
        ),
        "an answer to the token",
    )
