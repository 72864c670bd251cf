"""What a trial gets of the machines, and how many trials fit."""

from collections.abc import Mapping
from dataclasses import dataclass

from search.config import ResourcesConfig
from trainable.config import Precision
from trainable.device import Share
from trainable.errors import InputError


@dataclass(frozen=True)
class Allotment:
    """The share of a trial, and the number of trials at once."""

    share: Share
    slots: int


def allot(config: ResourcesConfig, available: Mapping[str, float], precision: Precision = "auto") -> Allotment:
    """Resolve `auto` against what Ray reports.

    Args:
        config: The user's wishes.
        available: Ray's `cluster_resources()`: CPU and GPU in all.
        precision: Of the trials.

    Raises:
        InputError: Not one trial fits, or what it gets does not compute its precision.
    """
    cpus_in_all, gpus_in_all = available.get("CPU", 0.0), available.get("GPU", 0.0)
    gpus = (1.0 if gpus_in_all >= 1 else 0.0) if config.gpus_per_trial == "auto" else config.gpus_per_trial
    cpus = _automatic_cpus(cpus_in_all, gpus_in_all, gpus) if config.cpus_per_trial == "auto" else config.cpus_per_trial
    slots = int(cpus_in_all / cpus + 1e-9)
    if gpus > 0:
        slots = min(slots, int(gpus_in_all / gpus + 1e-9))
    if slots < 1:
        raise InputError(
            f"a trial asks for {cpus:g} CPUs and {gpus:g} GPUs",
            f"{cpus_in_all:g} CPUs and {gpus_in_all:g} GPUs in all",
            "Lower resources.cpus_per_trial or resources.gpus_per_trial, or set them to auto",
        )
    if precision == "fp16" and gpus == 0:
        value, remedy = f"{cpus_in_all:g} CPUs and no GPU", "Set runtime.precision to auto, bf16 or fp32"
        raise InputError("runtime.precision fp16 needs a GPU", value, remedy)
    return Allotment(Share(cpus, gpus), min(slots, config.max_concurrent or slots))


def _automatic_cpus(cpus_in_all: float, gpus_in_all: float, gpus: float) -> float:
    """With GPUs each trial gets its part of the cores, else one core: trials in parallel beat threads in one."""
    if gpus <= 0:
        return 1.0
    trials = max(1, int(gpus_in_all / gpus + 1e-9))
    return float(max(1, int(cpus_in_all // trials)))
