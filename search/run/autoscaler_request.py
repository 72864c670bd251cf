"""What tells an autoscaler how many trials are to run, before there are machines to run them on."""

import time
from typing import Final

import ray
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group

from search.run.resources import ray_resources
from trainable.device import ResourceShare

_LOOK_SECONDS: Final = 1.0


class AutoscalerRequest:
    """Places that are asked for and given back as soon as they are there.

    A trial is suggested when there is a place for it, so that it learns from those before; an autoscaler would see one
    more trial at a time, and start one more machine at a time. Ray forgets these places when the driver ends, however
    it ends, unlike those of `request_resources`, for which machines would be kept, and paid for, without a driver.

    Args:
        share: Of a trial.
    """

    def __init__(self, share: ResourceShare) -> None:
        self._bundle = ray_resources(share)
        self._asked: list[PlacementGroup] = []
        self._due = -float("inf")

    def ask_for(self, places: int) -> None:
        """Ask for as many places as are wanted beyond those that there are; call it again and again."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LOOK_SECONDS
            self._give_back(self._there())
        while len(self._asked) < places:
            self._asked.append(placement_group([self._bundle]))
        self._give_back(self._asked[max(0, places) :])

    def close(self) -> None:
        """Ask for nothing any more."""
        self._give_back(list(self._asked))

    def _there(self) -> list[PlacementGroup]:
        if not self._asked:
            return []
        states = placement_group_table()
        return [group for group in self._asked if states.get(group.id.hex(), {}).get("state") != "PENDING"]

    def _give_back(self, groups: list[PlacementGroup]) -> None:
        for group in groups:
            self._asked.remove(group)
            if ray.is_initialized():
                remove_placement_group(group)
