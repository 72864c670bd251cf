"""A cluster that grows by demand: Ray's real autoscaler, whose machines are processes of this one."""

import io
import sys
import time
from pathlib import Path

import pytest
import yaml
from ports import free_port
from ray import cloudpickle
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.run.launch import run_search
from trainable.ray_trainable import SegmentationTrainable
from trainable.training import EpochOutcome

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

MOST = 3
HEAD_TYPE = "ray.head.default"  # the provider's name for it


class Patient:
    """A trainer that learns nothing, and whose first epoch ends when `MOST` trials have been started."""

    def __init__(self, trials):
        self.trials = trials

    def run_epoch(self, epoch, should_stop):
        deadline = time.monotonic() + 600  # not for ever: only then does the test end where the cluster does not grow
        while len(list(self.trials.glob("*/attempts/0001.json"))) < MOST:
            if time.monotonic() > deadline:
                raise RuntimeError("the cluster has not grown")
            time.sleep(0.1)
        return EpochOutcome({"miou": 0.1})

    def state(self):
        return {"epochs": 0}

    def load_state(self, state):
        """Nothing to continue from."""

    def weights(self):
        return {}


class PatientTrainable(SegmentationTrainable):
    def build(self, config, data, compute):
        return Patient(Path(self._assignment["aerosweep_folder"], "trials"))


@pytest.fixture
def growing(start_ray_head, tmp_path, monkeypatch):
    """Address of a cluster whose head takes no trials, and that grows by one trial a machine to `MOST` machines."""
    port = free_port()
    config = {
        "cluster_name": "growing",
        "max_workers": MOST,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": f"127.0.0.1:{port}",
            "launch_multiple": True,
            # Else a machine that is slow to report is to be mended through ssh, which fake ones have not: growing ends.
            "disable_node_updaters": True,
            "worker_liveness_check": False,
        },
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1, "object_store_memory": 80 * 2**20},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST,
            },
        },
        "head_node_type": HEAD_TYPE,
        "upscaling_speed": 20,
        "idle_timeout_minutes": 5,
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "initialization_commands": [],
        **{f"{who}setup_commands": [] for who in ("", "head_", "worker_")},
        **{f"{who}_start_ray_commands": [] for who in ("head", "worker")},
    }
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("HOME", str(tmp_path))  # where `ray up` leaves it on a head
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    options = [
        "--num-cpus=0",
        "--include-dashboard=false",
        f"--autoscaling-config={tmp_path}/ray_bootstrap_config.yaml",
    ]
    environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
    with start_ray_head(tmp_path, *options, environment=environment, port=port):
        yield f"127.0.0.1:{port}"


def test_a_cluster_without_machines_grows_at_once_to_all_that_the_search_can_use(
    growing, make_small_search, search_cache, tmp_path
):
    values = make_small_search(tmp_path / "runs", search_cache, baselines="none")
    values["budget"] = {"trials": MOST + 1, "max_epochs": 1}
    config = SearchConfig.model_validate(values).absolute()
    output = io.StringIO()
    view = PlainView(Console(file=output, width=200))
    outcome = run_search(config, resume=False, address=growing, view=view, say=view.say, trainable=PatientTrainable)
    assert [trial.state for trial in outcome.trials] == ["completed"] * (MOST + 1)
    assert f"no machine is up yet that a trial fits on: the cluster is asked for {MOST} places" in output.getvalue()
