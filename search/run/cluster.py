"""The machines of the Ray cluster that a launch runs on: those that there are, and those that it may grow to."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from search.run.resources import Machine

_LOOK_SECONDS: Final = 2.0

BOOTSTRAP_CONFIG: Final = "ray_bootstrap_config.yaml"
"""What `ray up` leaves in the home folder of the head: the cluster's config as its autoscaler reads it."""


class Cluster:
    """Asks Ray which machines are alive, every two seconds at the most.

    Args:
        nodes: `ray.nodes`.
        own_address: IP address of the driver's machine, by Ray; empty where it is none of the cluster's.
        grown: The machines that there are when it has grown as far as it may; none if it is of a fixed size.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        nodes: Callable[[], Sequence[Mapping[str, Any]]],
        own_address: str = "",
        grown: Sequence[Machine] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.own_address = own_address
        self.grown = grown
        self._nodes = nodes
        self._clock = clock
        self._due = -float("inf")
        self._alive: list[Mapping[str, Any]] = []

    @property
    def machines(self) -> list[Machine]:
        """Those that are alive."""
        return [_machine(node["Resources"]) for node in self._look()]

    @property
    def addresses(self) -> frozenset[str]:
        """IP addresses of those that are alive."""
        return frozenset(node["NodeManagerAddress"] for node in self._look())

    def _look(self) -> list[Mapping[str, Any]]:
        now = self._clock()
        if now >= self._due:
            self._due = now + _LOOK_SECONDS
            self._alive = [node for node in self._nodes() if node["Alive"]]
        return self._alive


def grown_machines(bootstrap_config: Path) -> list[Machine]:
    """The machines of a cluster of `ray up` when it has grown as far as it may.

    Args:
        bootstrap_config: The cluster's config on its head.

    Returns:
        Nothing where there is no such file: the cluster is of a fixed size, or grows by means that it does not tell of.
        Hosts whose resources the config does not say (`provider: local`) are left out: they join by themselves.
    """
    if not bootstrap_config.exists():
        return []
    config = yaml.safe_load(bootstrap_config.read_text())
    kinds = config.get("available_node_types", {})
    head = config.get("head_node_type")
    workers = [
        _machine(kind.get("resources", {}))
        for name, kind in kinds.items()
        if name != head
        for _ in range(kind.get("max_workers", 0))
    ]
    # The largest first: how many there may be of all kinds together is limited, too.
    workers.sort(key=lambda machine: (machine.gpus, machine.cpus), reverse=True)
    heads = [_machine(kinds[head].get("resources", {}))] if head in kinds else []
    return heads + workers[: config.get("max_workers", len(workers))]


def _machine(resources: Mapping[str, float]) -> Machine:
    return Machine(resources.get("CPU", 0.0), resources.get("GPU", 0.0))
