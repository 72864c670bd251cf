"""What a trial gets, and how many fit."""

import pytest

from search.config.search_config import ResourcesConfig
from search.run.resources import Machine, allot
from trainable.device import ResourceShare
from trainable.errors import InputError


@pytest.mark.parametrize(
    ("config", "machines", "share", "slots"),
    [
        ({}, [Machine(2)], ResourceShare(1, 0), 2),
        ({}, [Machine(16, 1)], ResourceShare(16, 1), 1),
        ({}, [Machine(16, 4)], ResourceShare(4, 1), 4),
        ({"gpus_per_trial": 0.5}, [Machine(8, 1)], ResourceShare(4, 0.5), 2),
        ({"gpus_per_trial": 0.3}, [Machine(9, 1)], ResourceShare(3, 0.3), 3),
        ({"gpus_per_trial": 0}, [Machine(4, 1)], ResourceShare(1, 0), 4),
        ({"cpus_per_trial": 2}, [Machine(5)], ResourceShare(2, 0), 2),
        ({"cpus_per_trial": 0.5}, [Machine(2)], ResourceShare(0.5, 0), 4),
        ({"max_concurrent": 3}, [Machine(8)], ResourceShare(1, 0), 3),
        ({"max_concurrent": 30}, [Machine(8)], ResourceShare(1, 0), 8),
        ({}, [Machine(2, 4)], ResourceShare(1, 1), 2),
        # Clusters: a trial runs on one machine, so what is left over on two does not make a place.
        ({"cpus_per_trial": 2}, [Machine(3), Machine(3), Machine(1)], ResourceShare(2, 0), 2),
        ({}, [Machine(4), Machine(8, 1), Machine(8, 1)], ResourceShare(8, 1), 2),
        ({}, [Machine(16, 4), Machine(8, 1)], ResourceShare(4, 1), 5),
        ({"gpus_per_trial": 0.5}, [Machine(8, 1), Machine(48, 4)], ResourceShare(4, 0.5), 10),
    ],
)
def test_shares_and_slots(config, machines, share, slots):
    allotment = allot(ResourcesConfig(**config), machines)
    assert (allotment.share, allotment.slots(machines), allotment.most) == (share, slots, slots)


def test_slots_follow_the_machines_up_to_what_the_cluster_may_grow_to():
    grown = [Machine(0), *[Machine(8, 1)] * 4]
    allotment = allot(ResourcesConfig(), [Machine(0)], grown)
    assert allotment.share == ResourceShare(8, 1), "the share is that of machines that are not there yet"
    assert allotment.most == 4
    assert [allotment.slots([Machine(0), *[Machine(8, 1)] * count]) for count in (0, 1, 3)] == [0, 1, 3]


def test_machines_that_join_a_cluster_of_fixed_size_are_used_too_unless_the_user_wants_fewer_trials():
    assert allot(ResourcesConfig(), [Machine(2)]).slots([Machine(2), Machine(3)]) == 5
    assert allot(ResourcesConfig(max_concurrent=4), [Machine(2)]).slots([Machine(2), Machine(3)]) == 4


@pytest.mark.parametrize(
    ("config", "machines", "message"),
    [
        (
            {"gpus_per_trial": 1},
            [Machine(8)],
            r"and 1 GPUs of one machine; got 8 CPUs and 0 GPUs on the largest of 1\.",
        ),
        ({"cpus_per_trial": 4}, [Machine(2), Machine(3)], r"asks for 4 CPUs and 0 .*; got 3 CPUs and 0 GPUs on the l"),
        ({}, [], r"got 0 CPUs and 0 GPUs on the largest of 0"),
    ],
)
def test_what_cannot_fit_is_refused(config, machines, message):
    with pytest.raises(InputError, match=message):
        allot(ResourcesConfig(**config), machines)


def test_a_precision_that_needs_a_gpu_is_refused_where_trials_get_none():
    with pytest.raises(InputError, match=r"runtime\.precision fp16 needs a GPU; got machines without a GPU\. Set runt"):
        allot(ResourcesConfig(), [Machine(8)], precision="fp16")
    assert allot(ResourcesConfig(), [Machine(8, 1)], precision="fp16").share.gpus == 1
    assert allot(ResourcesConfig(), [Machine(8)], precision="bf16").share.gpus == 0
