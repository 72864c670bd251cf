"""How many trials may run now, while machines come and go."""

from collections.abc import Callable
from typing import Protocol

from search.decide.conductor import Conductor
from search.run.cluster import Cluster
from search.run.resources import Allotment


class AsksForPlaces(Protocol):
    """`search.run.autoscaler_request.AutoscalerRequest`, which knows Ray."""

    def ask_for(self, places: int) -> None:
        """Ask for places that there are not."""
        ...

    def close(self) -> None:
        """Ask for nothing any more."""
        ...


class Capacity:
    """Places for trials: those that there are, those that run, and those that the cluster may grow to.

    Args:
        conductor: Knows how many trials run, and how many are left.
        cluster: Knows the machines.
        allotment: A trial's share of one.
        request: Tells the autoscaler.
        say: Prints a line for the user.
    """

    def __init__(
        self,
        conductor: Conductor,
        cluster: Cluster,
        allotment: Allotment,
        request: AsksForPlaces,
        say: Callable[[str], None],
    ) -> None:
        self._conductor = conductor
        self._cluster = cluster
        self._allotment = allotment
        self._request = request
        if self.now == 0:
            say(f"no machine is up yet that a trial fits on: the cluster is asked for {self._wanted} places")

    @property
    def now(self) -> int:
        """Trials at once on the machines that are alive."""
        return self._allotment.slots(self._cluster.machines)

    @property
    def free(self) -> bool:
        """Whether another trial may be handed out.

        One trial is handed out even where there is no place at all: Tune's loop stands still without a trial.
        """
        return len(self._conductor.running) < max(1, self.now)

    @property
    def _wanted(self) -> int:
        return min(self._allotment.most, self._conductor.left)

    def ask_for_machines(self) -> None:
        """Let the autoscaler know of all trials that could run at once, and no longer of those that have ended."""
        waiting = max(0, len(self._conductor.running) - self.now)  # Tune asks for the places of these
        self._request.ask_for(max(0, self._wanted - self.now - waiting))

    def close(self) -> None:
        """Ask for nothing any more."""
        self._request.close()
