"""A trial's share of a GPU's memory is held, and a trial that does not fit into it comes to its end all the same."""

import numpy as np
import pytest
import torch

from trainable.config.loss_config import LossConfig
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.trial_data import open_trial_data
from trainable.device import ResourceShare, free_memory, limit_process
from trainable.errors import InputError
from trainable.training import Training
from trainable.trial_config import TrialConfig

pytestmark = pytest.mark.gpu


@pytest.fixture
def process_settings():
    """What `limit_process` sets, put back."""
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.usefixtures("limit_memory", "process_settings")
def test_a_quarter_of_a_gpu_is_a_quarter_of_its_memory(gpu):
    total = torch.cuda.get_device_properties(gpu).total_memory
    limit_process(ResourceShare(cpus=1, gpus=0.25))
    within = torch.empty(int(0.15 * total), dtype=torch.uint8, device=gpu)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(int(0.15 * total), dtype=torch.uint8, device=gpu)
    del within
    torch.empty(int(0.2 * total), dtype=torch.uint8, device=gpu)


def never():
    return False


def trial(tmp_path, size, crop, batch):
    """A network of few weights and the images of a size, of which a batch of crops is trained."""
    dataset = DatasetConfig(layout="synthetic", images=40, size=size)
    config = TrialConfig(
        dataset=dataset,
        model=ModelConfig(architecture="unet", encoder="timm-mobilenetv3_small_100", encoder_weights="none"),
        loss=LossConfig(name="tversky", alpha=0.7, beta=0.3),
        data=DataConfig(batch_size=batch, crop=crop),
        max_epochs=1,
    )
    return config, open_trial_data(dataset, tmp_path / "cache")


def epoch(config, data, compute, limit=None):
    """The outcome of one epoch, and the most bytes that it held beyond the network itself.

    Args:
        config: What is trained.
        data: On these images.
        compute: There.
        limit: Called with the bytes that the network holds, before the epoch.
    """
    free_memory()
    training = Training(config, data, compute)
    held = torch.cuda.memory_allocated()
    if limit is not None:
        limit(held)
    outcome = training.run_epoch(1, never)
    return outcome, int(outcome.metrics["peak_memory_mb"] * 2**20) - held


def times_out_of_memory():
    return torch.cuda.memory_stats()["num_ooms"]


def short_of_memory(config, data, compute, limit_memory, needed):
    """The outcome of one epoch with so little memory that it runs out, and no less than that.

    Where there is less, the libraries first do with less: how much is enough cannot be told beforehand.
    """
    for share in (0.9, 0.8, 0.7, 0.6, 0.5):
        before = times_out_of_memory()
        outcome, _ = epoch(config, data, compute, lambda held, share=share: limit_memory(held + int(share * needed)))
        if times_out_of_memory() > before:
            return outcome
    pytest.fail("half of what was held at once was enough")


def test_a_batch_that_does_not_fit_is_trained_in_parts(on_device, limit_memory, tmp_path):
    config, data = trial(tmp_path, "256x256", "256x256", batch=16)
    expected, needed = epoch(config, data, on_device())
    assert expected.metrics["micro_batch_size"] == 16
    given = short_of_memory(config, data, on_device(), limit_memory, needed)
    assert given.diverged is None
    assert given.metrics["micro_batch_size"] < 16
    assert any("out of memory with 16 images at once" in note for note in given.notes)
    # BatchNorm sees smaller batches: near, and no more.
    assert given.metrics["train_loss"] == pytest.approx(expected.metrics["train_loss"], rel=0.1)


def test_an_evaluation_that_does_not_fit_ends_with_the_same_counts(on_device, limit_memory, tmp_path):
    config, data = trial(tmp_path, "640x704", "64x64", batch=2)
    expected, needed = epoch(config, data, on_device())
    given = short_of_memory(config, data, on_device(), limit_memory, needed)
    assert given.metrics["micro_batch_size"] == 2, "only the evaluation is too large"
    assert given.matrix.sum() == expected.matrix.sum(), "every pixel is scored once"
    np.testing.assert_allclose(given.matrix, expected.matrix, atol=0.02 * expected.matrix.sum())


def test_a_step_that_does_not_fit_at_all_is_refused_with_what_to_change(on_device, limit_memory, tmp_path):
    config, data = trial(tmp_path, "256x256", "256x256", batch=2)
    _, needed = epoch(config, data, on_device())
    with pytest.raises(InputError, match=r"a training step must fit into memory.*resources\.gpus_per_trial"):
        epoch(config, data, on_device(), lambda held: limit_memory(held + needed // 10))
