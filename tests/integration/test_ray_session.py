"""Ray for the length of a launch: how it ends."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import yaml
from ports import free_port
from waiting import PATIENCE

from search.run.ray_session import ray_session
from search.run.resources import Machine
from trainable.errors import InputError
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.filterwarnings("default")


def test_nothing_is_collected_while_ray_shuts_down(ray_address, monkeypatch):
    """A reference of Ray's that is freed then, on whatever thread, ends the process: seen in 2 of 15 searches."""
    shutdown, seen = ray.shutdown, []

    def shut_down():
        seen.append((gc.isenabled(), gc.collect(0)))
        shutdown()

    monkeypatch.setattr(ray, "shutdown", shut_down)
    with ray_session(ray_address) as cluster:
        assert cluster.machines == [Machine(2)]
        assert len(cluster.addresses) == 1
        cycle = [ray.put(1)]
        cycle.append(cycle)
        del cycle
    ((enabled, left),) = seen
    assert not enabled
    assert left < 10, "what Tune left in cycles is freed before"
    assert gc.isenabled()


ALONE = """
import json, os, ray
from search.run.ray_session import ray_session

with ray_session(None) as cluster:
    folder = os.path.dirname(ray._private.worker._global_node.get_temp_dir_path())
    print(json.dumps({"machines": len(cluster.machines), "folder": folder, "mode": os.stat(folder).st_mode & 0o777}))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A session on this machine, in a job whose temporary folder has a path of 100 bytes and more."""
    home = tmp_path_factory.mktemp("home")
    (home / ("x" * 100)).mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), "RAY_ADDRESS": f"127.0.0.1:{free_port()}", "TMPDIR": str(home / ("x" * 100))}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_address_means_this_machine_whatever_the_environment_says(alone):
    """The command line reads RAY_ADDRESS; who calls us has read it already, or did not want it."""
    assert alone["machines"] == 1


def test_a_temporary_folder_that_is_too_long_for_sockets_stops_no_search(alone):
    assert alone["folder"].startswith("/tmp/aerosweep-ray-")
    assert alone["mode"] == 0o700
    assert not Path(alone["folder"]).exists()


@pytest.mark.parametrize("address", ["", "head", "head:port"])
def test_an_address_that_is_none_is_refused_and_starts_no_ray(address):
    rule = r"--address \(or RAY_ADDRESS\) must name a running Ray cluster"
    with pytest.raises(InputError, match=rule), ray_session(address):
        pytest.fail("connected")
    assert not ray.is_initialized()


REFUSING = """
import os, sys, yaml
from rich.console import Console
from search.config.search_config import SearchConfig
from search.run.launch import run_search
from aerosweep.terminal.progress import PlainView
from search.run.ray_session import ray_session
from trainable.errors import SearchFaultError

if __name__ == "__main__":
    with ray_session(None):
        pass  # with a token, which this process wants to be shown from now on
    os.environ["RAY_AUTH_MODE"] = "disabled"
    view = PlainView(Console())
    config = SearchConfig.model_validate(yaml.safe_load(open(sys.argv[1]))).absolute()
    try:
        run_search(config, resume=False, address=sys.argv[2], view=view, say=view.say)
    except SearchFaultError as fault:
        print(fault)
"""


def test_where_ray_can_start_no_process_the_search_ends_with_the_reason_and_loses_no_trial(
    ray_address, search_cache, make_small_search, tmp_path
):
    values = make_small_search(tmp_path / "runs", search_cache, baselines="none", budget={"trials": 4, "max_epochs": 1})
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "refusing.py").write_text(REFUSING)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "refusing.py", "search.yaml", ray_address]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=2 * PATIENCE, check=False
    )
    assert "Ray must be able to start the processes of trials; got 5 starts of t0" in done.stdout, (
        done.stdout + done.stderr
    )
    trials = load_trials(Storage(str(tmp_path / "runs" / "small")))
    assert trials
    assert all(trial.end is None for trial in trials)
