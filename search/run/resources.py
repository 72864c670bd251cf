"""What a trial gets of the machines, and how many trials fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from search.config.search_config import ResourcesConfig
from trainable.config.sections import Precision
from trainable.device import ResourceShare
from trainable.errors import InputError


@dataclass(frozen=True)
class Machine:
    """What trials may use of a machine."""

    cpus: float
    gpus: float = 0.0

    def fits(self, share: ResourceShare) -> int:
        """How many trials of this share it takes; a trial runs on one machine."""
        by_cpus = int(self.cpus / share.cpus + 1e-9)
        return by_cpus if share.gpus <= 0 else min(by_cpus, int(self.gpus / share.gpus + 1e-9))


def ray_resources(share: ResourceShare) -> dict[str, float]:
    """A trial's share by Ray's names."""
    return {"CPU": share.cpus} | ({"GPU": share.gpus} if share.gpus else {})


@dataclass(frozen=True)
class Allotment:
    """The share of a trial, and the number of trials at once.

    Attributes:
        share: Of a machine.
        most: Trials at once when the cluster has grown as far as it may.
        limit: Trials at once that the user wants at the most, or None.
    """

    share: ResourceShare
    most: int
    limit: int | None = None

    def slots(self, machines: Sequence[Machine]) -> int:
        """Trials at once on these machines."""
        slots = sum(machine.fits(self.share) for machine in machines)
        return min(slots, self.limit or slots)


def allot(
    config: ResourcesConfig, machines: Sequence[Machine], grown: Sequence[Machine] = (), precision: Precision = "auto"
) -> Allotment:
    """Resolve `auto` against the machines that there are, or may be.

    Args:
        config: The user's wishes.
        machines: Those that there are.
        grown: All that there are when the cluster has grown as far as it may; fewer than `machines` where the cluster
            is of a fixed size.
        precision: Of the trials.

    Raises:
        InputError: Not one trial fits, or what it gets does not compute its precision.
    """
    known = [*machines, *grown]
    gpus = _automatic_gpus(known) if config.gpus_per_trial == "auto" else config.gpus_per_trial
    cpus = _automatic_cpus(known, gpus) if config.cpus_per_trial == "auto" else config.cpus_per_trial
    share = ResourceShare(cpus, gpus)
    most = max(sum(machine.fits(share) for machine in each) for each in (machines, grown))
    if most < 1:
        largest = max(known, key=lambda machine: (machine.gpus, machine.cpus), default=Machine(0))
        raise InputError(
            f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs of one machine",
            f"{largest.cpus:g} CPUs and {largest.gpus:g} GPUs on the largest of {max(len(machines), len(grown))}",
            "Lower resources.cpus_per_trial or resources.gpus_per_trial, or set them to auto",
        )
    if precision == "fp16" and gpus == 0:
        value, remedy = "machines without a GPU", "Set runtime.precision to auto, bf16 or fp32"
        raise InputError("runtime.precision fp16 needs a GPU", value, remedy)
    return Allotment(share, min(most, config.max_concurrent or most), config.max_concurrent)


def _automatic_gpus(machines: Sequence[Machine]) -> float:
    return 1.0 if any(machine.gpus >= 1 for machine in machines) else 0.0


def _automatic_cpus(machines: Sequence[Machine], gpus: float) -> float:
    """With GPUs each trial gets its part of the cores, else one core: trials in parallel beat threads in one."""
    if gpus <= 0:
        return 1.0
    # Of the machine that has the fewest cores a GPU, so that no GPU of any is left idle.
    parts = [machine.cpus // max(1, int(machine.gpus / gpus + 1e-9)) for machine in machines if machine.gpus >= gpus]
    return float(max(1, int(min(parts, default=1))))
