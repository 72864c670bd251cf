"""A network through `torch.compile`: whether this machine can, what the next trial uses again, and how long it took.

What was compiled is kept twice. Within a process the next trial of the same kind compiles nothing. Trials of another
kind, and other processes of the node, find the kernels in torch's cache on disk (`TORCHINDUCTOR_CACHE_DIR`): minutes
become seconds.
"""

import functools
import time
from typing import Any, Final

import torch
from torch import nn
from torch._dynamo import callback
from torch._inductor import config as inductor

from trainable.config.sections import DataConfig, ModelConfig
from trainable.device import Compute
from trainable.errors import SearchFaultError


def compiled(network: nn.Module, model: ModelConfig, data: DataConfig, compute: Compute) -> nn.Module:
    """Wrap a network so that it is compiled when it runs, for each shape of its input that it meets.

    Args:
        network: Of this config, on the device.
        model: What the network is.
        data: What it is trained on: the shapes of its input.
        compute: Device and precision.

    Raises:
        SearchFaultError: This machine cannot compile.
    """
    require_compiler(compute.device)
    _make_room(f"{model.model_dump_json()} {data.batch_size} {data.crop} {compute}")
    return torch.compile(network)  # type: ignore[return-value]  # a module gives a module


def compile_seconds() -> float:
    """How long this process has spent compiling."""
    return _clock.seconds


@functools.cache
def require_compiler(device: torch.device) -> None:
    """Compile something small, which needs all that a network needs.

    Raises:
        SearchFaultError: This machine cannot compile; no trial is to blame.
    """
    try:
        torch.compile(_add_one)(torch.zeros(8, device=device))
    except Exception as error:  # of torch, of its compilers, of the system
        raise SearchFaultError(
            "runtime.compile true needs a C++ compiler and Python's headers on every machine that trains",
            str(error).strip().partition("\n")[0].rstrip("."),
            "Install them (Debian and Ubuntu: g++ and python3-dev; CXX names another compiler), "
            "or set runtime.compile=false",
        ) from error


def _add_one(values: torch.Tensor) -> torch.Tensor:
    return values + 1


class _Clock:
    """Counts the seconds between the start and the end of compilations."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self, _: Any) -> None:
        self._began = time.perf_counter()

    def stop(self, _: Any) -> None:
        self.seconds += time.perf_counter() - self._began


_clock: Final = _Clock()


@functools.lru_cache(maxsize=1)
def _make_room(kind: str) -> None:
    """Forget what was compiled for trials of another kind than the last.

    After 8 networks of one class torch would no longer compile; and a second size of crop would make it compile for
    crops of any size, whose kernels are slower and round otherwise than those of a fresh process.
    """
    inductor.compile_threads = torch.get_num_threads()  # it would else take every core of the machine
    torch.compiler.reset()  # and with it the clock's registration
    callback.on_compile_start(_clock.start)
    callback.on_compile_end(_clock.stop)
