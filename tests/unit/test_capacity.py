"""How many trials may run while machines come and go, and what the autoscaler is told."""

from types import SimpleNamespace

import pytest
import yaml

from search.run.capacity import Capacity
from search.run.cluster import Cluster, grown_machines
from search.run.resources import Allotment, Machine
from trainable.device import ResourceShare


class Noted:
    """A demand that notes what is asked for."""

    def __init__(self):
        self.asked = None

    def ask_for(self, places):
        self.asked = places

    def close(self):
        self.asked = "closed"


def node(cpus, gpus=0, alive=True, address="192.0.2.1"):
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1}, "NodeManagerAddress": address}


class Hall:
    """Slots over a list of nodes."""

    def __init__(self, nodes, most, limit=None, left=100):
        self.nodes, self.time, self.request, self.said = nodes, 0.0, Noted(), []
        self.conductor = SimpleNamespace(running=frozenset(), left=left)
        cluster = Cluster(lambda: self.nodes, clock=lambda: self.time)
        self.slots = Capacity(
            self.conductor, cluster, Allotment(ResourceShare(1, 0), most, limit), self.request, self.said.append
        )

    def run(self, count):
        self.conductor.running = frozenset(range(count))
        self.slots.ask_for_machines()
        return self.slots.free, self.request.asked


def test_places_are_those_of_the_machines_that_are_alive():
    hall = Hall([node(2), node(3), node(4, alive=False)], most=5)
    assert hall.slots.now == 5
    assert [hall.run(count) for count in (0, 4, 5)] == [(True, 0), (True, 0), (False, 0)]
    hall.nodes = [node(2)]
    assert hall.slots.now == 5, "Ray is not asked at every turn"
    hall.time = 2.0
    assert hall.slots.now == 2
    assert hall.run(5) == (False, 0)
    hall.nodes, hall.time = [node(2), node(6)], 4.0
    assert hall.slots.now == 8, "a machine that joins is used"


def test_the_autoscaler_is_asked_for_all_places_at_once_and_for_one_trial_by_the_trial_itself():
    hall = Hall([node(0)], most=8)
    assert hall.said == ["no machine is up yet that a trial fits on: the cluster is asked for 8 places"]
    assert hall.run(0) == (True, 8)
    assert hall.run(1) == (False, 7), "the trial that was handed out waits for the eighth"
    hall.nodes, hall.time = [node(0), node(2)], 2.0
    assert hall.run(1) == (True, 6)
    assert hall.run(2) == (False, 6)
    hall.conductor.left = 5
    assert hall.run(2) == (False, 3), "no more places than trials"
    hall.conductor.left = 2
    assert hall.run(2) == (False, 0)
    hall.slots.close()
    assert hall.request.asked == "closed"


def test_no_more_is_asked_for_than_the_user_wants():
    assert Hall([node(0)], most=3, limit=3).run(1) == (False, 2)
    assert Hall([node(8)], most=3, limit=3).run(3) == (False, 0)


@pytest.fixture
def grown(tmp_path):
    def read(**config):
        path = tmp_path / "bootstrap.yaml"
        path.write_text(yaml.safe_dump(config))
        return grown_machines(path)

    return read


def test_what_a_cluster_may_grow_to_is_read_from_its_config(grown):
    kinds = {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "small": {"resources": {"CPU": 8, "GPU": 1}, "min_workers": 0, "max_workers": 2},
        "large": {"resources": {"CPU": 48, "GPU": 4}, "max_workers": 2},
    }
    config = {"available_node_types": kinds, "head_node_type": "head"}
    small, large = Machine(8, 1), Machine(48, 4)
    assert grown(**config) == [Machine(0), large, large, small, small]
    assert grown(**config, max_workers=3) == [Machine(0), large, large, small], "the sum is limited, too"


def test_a_cluster_whose_hosts_tell_no_resources_or_that_has_no_config_does_not_grow_by_it(grown, tmp_path):
    kinds = {"local.cluster.node": {"resources": {}, "min_workers": 2, "max_workers": 2}}
    machines = grown(available_node_types=kinds, head_node_type="local.cluster.node", max_workers=2)
    assert sum(machine.fits(ResourceShare(1, 0)) for machine in machines) == 0
    assert grown_machines(tmp_path / "none.yaml") == []
