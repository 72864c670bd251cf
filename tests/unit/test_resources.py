"""What a trial gets, and how many fit."""

import pytest

from search.config import ResourcesConfig
from search.resources import allot
from trainable.device import Share
from trainable.errors import InputError


@pytest.mark.parametrize(
    ("config", "available", "share", "slots"),
    [
        ({}, {"CPU": 2}, Share(1, 0), 2),
        ({}, {"CPU": 16, "GPU": 1}, Share(16, 1), 1),
        ({}, {"CPU": 16, "GPU": 4}, Share(4, 1), 4),
        ({"gpus_per_trial": 0.5}, {"CPU": 8, "GPU": 1}, Share(4, 0.5), 2),
        ({"gpus_per_trial": 0.3}, {"CPU": 9, "GPU": 1}, Share(3, 0.3), 3),
        ({"gpus_per_trial": 0}, {"CPU": 4, "GPU": 1}, Share(1, 0), 4),
        ({"cpus_per_trial": 2}, {"CPU": 5}, Share(2, 0), 2),
        ({"cpus_per_trial": 0.5}, {"CPU": 2}, Share(0.5, 0), 4),
        ({"max_concurrent": 3}, {"CPU": 8}, Share(1, 0), 3),
        ({"max_concurrent": 30}, {"CPU": 8}, Share(1, 0), 8),
        ({}, {"CPU": 2, "GPU": 4}, Share(1, 1), 2),
    ],
)
def test_shares_and_slots(config, available, share, slots):
    allotment = allot(ResourcesConfig(**config), available)
    assert (allotment.share, allotment.slots) == (share, slots)


@pytest.mark.parametrize(
    ("config", "available", "message"),
    [
        ({"gpus_per_trial": 1}, {"CPU": 8}, r"and 1 GPUs; got 8 CPUs and 0 GPUs in all"),
        ({"cpus_per_trial": 4}, {"CPU": 2}, r"asks for 4 CPUs and 0 GPUs; got 2 CPUs and 0 GPUs in all"),
    ],
)
def test_what_cannot_fit_is_refused(config, available, message):
    with pytest.raises(InputError, match=message):
        allot(ResourcesConfig(**config), available)


def test_a_precision_that_needs_a_gpu_is_refused_where_trials_get_none():
    with pytest.raises(InputError, match=r"runtime\.precision fp16 needs a GPU; got 8 CPUs and no GPU\. Set runtime"):
        allot(ResourcesConfig(), {"CPU": 8}, "fp16")
    assert allot(ResourcesConfig(), {"CPU": 8, "GPU": 1}, "fp16").share.gpus == 1
    assert allot(ResourcesConfig(), {"CPU": 8}, "bf16").share.gpus == 0
