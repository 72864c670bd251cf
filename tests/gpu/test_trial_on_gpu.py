"""A trial on a GPU: trained, recorded, left half-way and continued, there or on the CPU."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

from trainable.device import Compute, free_memory
from trainable.record.checkpoint import from_bytes, to_bytes
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.training import InterruptedTraining, Training
from trainable.trial_run import Host, TrialRun

pytestmark = pytest.mark.gpu

CPU = Compute(torch.device("cpu"), torch.float32)
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture
def config(dropout_trial):
    """The trial that most tests here train."""
    return dropout_trial


def never():
    return False


def start(folder, training, config, compute):
    classes = tuple("abcdefghijkl")
    return TrialRun(TrialRecord(folder, "t0000"), training, "miou", classes, Host(compute.name), config.max_epochs)


def losses(records):
    return [record.metrics[name] for record in records for name in ("train_loss", "dev_loss")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_trial_is_trained_and_recorded(dtype, config, synthetic_data, tmp_path, on_device):
    compute = on_device(dtype)
    trial = start(Storage(str(tmp_path)), Training(config, synthetic_data, compute), config, compute)
    records = [trial.step() for _ in range(config.max_epochs)]
    assert [record.epoch for record in records] == [1, 2, 3]
    assert all(math.isfinite(value) for record in records for value in record.metrics.values())
    assert {record.diverged for record in records} == {None}
    assert {record.device for record in records} == {compute.name}
    assert records[0].metrics["peak_memory_mb"] > 0
    weights = from_bytes(Storage(str(tmp_path)).read(f"trials/t0000/best/{records[-1].best_epoch:04d}/weights.pt"))
    assert all(tensor.device.type == "cpu" for tensor in weights["state_dict"].values()), "read where no GPU is"


@pytest.mark.usefixtures("exact_convolutions")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_trial_interrupted_and_continued_is_one_that_never_was(dtype, config, synthetic_data, tmp_path, on_device):
    compute = on_device(dtype)
    whole, parts = Storage(str(tmp_path / "whole")), Storage(str(tmp_path / "parts"))
    trial = start(whole, Training(config, synthetic_data, compute), config, compute)
    expected = [trial.step() for _ in range(3)]

    trial = start(parts, Training(config, synthetic_data, compute), config, compute)
    given = [trial.step()]
    asked = iter([False, False, True])
    with pytest.raises(InterruptedTraining):
        trial.step(lambda: next(asked))
    torch.manual_seed(77)
    trial = start(parts, Training(config, synthetic_data, compute), config, compute)
    given += [trial.step() for _ in range(2)]
    # Sums on a GPU need not be taken in the same order twice.
    assert losses(given) == pytest.approx(losses(expected), rel=1e-3 if dtype == torch.float32 else 0.02)


@pytest.mark.usefixtures("exact_convolutions")
def test_a_checkpoint_of_a_gpu_is_continued_there_and_on_the_cpu(config, synthetic_data, on_device):
    compute = on_device()
    training = Training(config, synthetic_data, compute)
    training.run_epoch(1, never)
    state = to_bytes(training.state())
    expected = training.run_epoch(2, never).metrics

    continued = Training(config, synthetic_data, compute)
    continued.load_state(from_bytes(state))
    given = continued.run_epoch(2, never).metrics
    for name in ("train_loss", "dev_loss"):
        assert given[name] == pytest.approx(expected[name], rel=1e-3), name

    elsewhere = Training(config, synthetic_data, CPU)
    elsewhere.load_state(from_bytes(state))
    # Dropout draws other numbers there.
    assert elsewhere.run_epoch(2, never).metrics["train_loss"] == pytest.approx(expected["train_loss"], rel=0.1)


def test_a_restored_trial_draws_the_numbers_that_it_would_have_drawn(config, synthetic_data, on_device):
    compute = on_device()
    state = to_bytes(Training(config, synthetic_data, compute).state())
    expected = torch.rand(9, device=compute.device)
    Training(config, synthetic_data, compute).load_state(from_bytes(state))
    assert torch.equal(torch.rand(9, device=compute.device), expected)


def test_a_checkpoint_of_the_cpu_is_continued_on_a_gpu(config, synthetic_data, on_device):
    training = Training(config, synthetic_data, CPU)
    training.run_epoch(1, never)
    state = to_bytes(training.state())
    expected = training.run_epoch(2, never).metrics
    continued = Training(config, synthetic_data, on_device())
    continued.load_state(from_bytes(state))
    assert continued.run_epoch(2, never).metrics["train_loss"] == pytest.approx(expected["train_loss"], rel=0.1)


@pytest.fixture(scope="module")
def golden():
    """The module of the golden curve of `tests/reference`."""
    script = Path(__file__).parents[1] / "reference" / "record_golden_curve.py"
    spec = importlib.util.spec_from_file_location("record_golden_curve", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("exact_convolutions")
def test_training_follows_the_recorded_curve(golden, synthetic_data, on_device):
    """Within twice what the CPU is allowed: no more than rounding differs."""
    stored = json.loads(golden.GOLDEN_CURVE.read_text())["epochs"]
    curve = golden.golden_curve(synthetic_data, on_device())
    assert len(curve) == len(stored)
    for number, (given, expected) in enumerate(zip(curve, stored, strict=True), start=1):
        assert given["train_loss"] == pytest.approx(expected["train_loss"], rel=0.01), number
        assert given["dev_loss"] == pytest.approx(expected["dev_loss"], rel=0.06), number
        assert given["miou"] == pytest.approx(expected["miou"], abs=0.03), number


def test_a_second_trial_leaves_no_more_allocated_than_the_first(config, synthetic_data, gpu, on_device):
    left = []
    for _ in range(3):
        training = Training(config, synthetic_data, on_device())
        training.run_epoch(1, never)
        del training
        free_memory()
        left.append(torch.cuda.memory_allocated(gpu))
    assert left[2] <= left[1] + 2**20
