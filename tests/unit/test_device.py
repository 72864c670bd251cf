"""What a trial's process is told before it computes."""

import subprocess
import sys

import pytest

FAULTS_OF_A_SECOND_BLOCK = """
import resource
import torch
from trainable.device import ResourceShare, free_memory, limit_process

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

limit_process(ResourceShare())
for _ in range(12):  # until what glibc keeps beside its blocks fits
    last = faults()
print(last, end=" ")
held = resident_mib()
free_memory()
print(held - resident_mib())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told")
def test_a_step_uses_the_memory_that_the_last_one_freed_and_a_trial_gives_it_back():
    told = subprocess.run([sys.executable, "-c", FAULTS_OF_A_SECOND_BLOCK], check=True, capture_output=True, text=True)
    faults, given_back_mib = map(float, told.stdout.split())

    assert faults < 100
    assert given_back_mib > 50
