"""The device of the tests that need a GPU, and what they lend it."""

import os

import pytest
import torch

from trainable.device import Compute, free_memory

ON = os.environ.get("AEROSWEEP_GPU_TESTS_ON", "cuda")
"""`cpu`: a dry run, for whoever changes these tests on a machine without a GPU. It shows nothing about a GPU."""


def why_impossible():
    if ON == "cpu":
        return None
    if not torch.cuda.is_available():
        return f"needs a GPU that torch can use; torch {torch.__version__} sees none"
    return None


@pytest.fixture(scope="session", autouse=True)
def device():
    """Where these tests compute.

    Without a GPU they are skipped, or fail if AEROSWEEP_REQUIRE_GPU=1 is set.
    """
    required = os.environ.get("AEROSWEEP_REQUIRE_GPU") == "1"
    why = why_impossible()
    if required and ON == "cpu":
        pytest.fail("AEROSWEEP_REQUIRE_GPU=1 wants a GPU, AEROSWEEP_GPU_TESTS_ON=cpu none")
    if why is not None and required:
        pytest.fail(why)
    if why is not None:
        pytest.skip(why)
    return torch.device(ON)


@pytest.fixture(scope="session")
def gpu(device):
    """The same for what only a GPU has."""
    if device.type != "cuda":
        pytest.skip("a dry run on the CPU, which holds no process to a share of its memory")
    return device


@pytest.fixture(scope="session")
def on_device(device):
    """`on_device(dtype)`: how a trial computes there."""
    return lambda dtype=torch.float32: Compute(device, dtype)


@pytest.fixture
def exact_convolutions():
    """Convolutions in float32 as on a CPU: a GPU by itself rounds what it multiplies to 10 bits (TF32)."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


@pytest.fixture
def limit_memory(gpu):
    """`limit_memory(size)`: from now on this process gets so many bytes of the GPU, until the test is over."""
    total = torch.cuda.get_device_properties(gpu).total_memory

    def limit(size):
        free_memory()
        torch.cuda.set_per_process_memory_fraction(size / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    free_memory()


def pytest_terminal_summary(terminalreporter):
    if ON == "cpu":
        terminalreporter.write_line("tests/gpu: a dry run on the CPU, which shows nothing about a GPU", yellow=True)
