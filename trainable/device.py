"""The device of a trial: which one, in which precision, and how much of it."""

import contextlib
import ctypes
import functools
import gc
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from trainable.config.sections import Precision
from trainable.errors import InputError

# Names of malloc.h.
_M_MMAP_MAX: Final = -4
_M_TRIM_THRESHOLD: Final = -1


@dataclass(frozen=True)
class ResourceShare:
    """The part of a node that a trial may use.

    Attributes:
        cpus: CPU cores, the threads of its maths; at least one thread is used.
        gpus: GPUs; a fraction shares one with other trials.
    """

    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class Compute:
    """Where and how a trial computes.

    Attributes:
        device: `cuda` or `cpu`.
        dtype: The type of the network's activations under autocast; float32 means no autocast.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last: as fast or faster for every network, crop size and precision that was measured."""
        return torch.channels_last

    @property
    def name(self) -> str:
        """`cpu` or the GPU's product name."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"

    def autocast(self) -> Any:
        """The context in which the network runs."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


def choose_compute(precision: Precision, share: ResourceShare) -> Compute:
    """Pick the device that the share grants, and the precision.

    Raises:
        InputError: The precision is one that the device does not compute, or the GPU is one that torch cannot use.
    """
    if share.gpus > 0 and not torch.cuda.is_available():
        raise InputError(
            "a trial with a GPU needs a torch that can use it",
            f"torch {torch.__version__}, which sees none",
            "Install a torch that fits the driver (see nvidia-smi), or set resources.gpus_per_trial=0",
        )
    device = torch.device("cuda" if share.gpus > 0 else "cpu")
    if precision == "fp16" and device.type == "cpu":
        raise InputError(
            "runtime.precision fp16 needs a GPU", "a trial on the CPU", "Set runtime.precision to auto, bf16 or fp32"
        )
    chosen = _automatic(device) if precision == "auto" else precision
    return Compute(device, {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[chosen])


def _automatic(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    capabilities = torch.cpu.get_capabilities()
    return "bf16" if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else "fp32"


def limit_process(share: ResourceShare) -> None:
    """Hold this process to its share, and make it fast there: threads, denormals, freed memory, GPU memory."""
    torch.set_num_threads(max(1, int(share.cpus)))
    _keep_freed_memory()
    # Weights that decay towards zero become denormal, and a CPU computes those ten times slower.
    torch.set_flush_denormal(True)
    if share.gpus > 0:
        torch.cuda.set_per_process_memory_fraction(min(1.0, share.gpus))
        torch.backends.cudnn.benchmark = True


def _keep_freed_memory() -> None:
    """Let glibc keep what a step frees for the next step; `free_memory` gives it back at a trial's end.

    It would hand every block above 32 MB to the system at once, and each of its pages costs a fault when it is wanted
    again: a quarter of the time of a step on crops of 512x512.
    """
    if platform.system() == "Linux":
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@functools.cache
def settle_process() -> None:
    """Take what the imports made out of the garbage collector's sight, once a process.

    The libraries hold about a million objects that live for ever; looking through them took 0.36 s a trial.
    """
    gc.collect()
    gc.freeze()


def free_memory() -> None:
    """Give back what the last trial held: to the allocator, and from there to the system."""
    gc.collect()
    torch.cuda.empty_cache()  # nothing where CUDA was not used
    if platform.system() == "Linux":
        # glibc keeps freed arenas; over hundreds of trials in one process that looks like a leak.
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory_mb` begin anew; a warm process would else show the peak of an earlier trial."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return
    with contextlib.suppress(OSError):  # not Linux, or not allowed: then it is the peak of the process
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MB since the last reset: allocated on the GPU, or resident in this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    import resource  # not on Windows, where Ray's workers do not run either

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
