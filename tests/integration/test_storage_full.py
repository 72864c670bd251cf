"""A disk that is full, really: a small tmpfs. The search stops and says so; with space again, it loses nothing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from waiting import PATIENCE

from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]

MEBIBYTE = 2**20


@pytest.fixture
def disk(tmp_path):
    """A file system of 400 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def config(disk, tmp_path, make_small_search, search_cache):
    values = make_small_search(disk / "runs", search_cache, baselines="none", budget={"trials": 3, "max_epochs": 4})
    values["scheduler"] = {"grace_epochs": 4, "reduction_factor": 2}
    # Two at a time, on any machine: what they keep at a time decides whether the disk is filled.
    values["resources"] |= {"cpus_per_trial": 0.5, "max_concurrent": 2}
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def search(config, *options):
    command = [sys.executable, "-m", "aerosweep", "search", str(config), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False, cwd=config.parent)


def fill(disk, leave):
    """Leave so many bytes free."""
    status = os.statvfs(disk)
    with Path(disk, "ballast").open("wb") as file:
        file.write(b"\0" * (status.f_bavail * status.f_frsize - leave))


def test_a_full_disk_stops_the_search_and_with_space_again_nothing_is_lost(config, disk):
    # The cache of decoded images lies elsewhere; room for some checkpoints (12 MiB each) and not for all.
    fill(disk, leave=40 * MEBIBYTE)
    full = search(config)
    assert full.returncode == 3, full.stdout + full.stderr
    assert re.search(
        r"error: .*runs/small.* must be readable and writable .*got 'No space left on device'", full.stderr
    )
    assert "Free space there and continue" in full.stderr
    assert re.search(r"continue +.*aerosweep search .*search\.yaml --resume", full.stdout)
    assert "Traceback" not in full.stdout + full.stderr

    folder = Storage(str(disk / "runs" / "small"))
    before = load_trials(folder)
    assert not any(trial.end is not None and trial.end.reason == "failed" for trial in before), "not the trials' fault"

    (disk / "ballast").unlink()
    resumed = search(config, "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    after = {trial.spec.trial_id: trial for trial in load_trials(folder)}
    assert [trial.state for trial in after.values()] == ["completed"] * 3
    for trial in before:
        assert after[trial.spec.trial_id].epochs[: len(trial.epochs)] == trial.epochs
    assert all([epoch.epoch for epoch in trial.epochs] == [1, 2, 3, 4] for trial in after.values())
    assert "is damaged and passed over" not in resumed.stdout + resumed.stderr
