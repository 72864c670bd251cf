"""A search through Ray whose trials share a GPU, as its user starts it."""

import math
import os
import subprocess
import sys

import pytest
import torch
import yaml
from waiting import PATIENCE

from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.gpu

SEARCH = {
    "name": "shared",
    "dataset": {"layout": "synthetic", "images": 40, "size": "64x64"},
    "storage": "runs",
    "space": {
        "model": {"architecture": "unet", "encoder": "tu-tf_mobilenetv3_small_100", "encoder_weights": "none"},
        "loss": {"name": ["cross_entropy", "tversky"], "alpha": 0.7, "beta": 0.3},
        "optimizer": {"learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}},
        "data": {"batch_size": 4, "crop": "64x64"},
    },
    "baselines": "none",
    "budget": {"trials": 3, "max_epochs": 2},
    "scheduler": {"grace_epochs": 2},
    "report": {"write": False},
}


def search(place, *options):
    command = [sys.executable, "-m", "aerosweep", "search", "search.yaml", *options]
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    environment["HOME"] = str(place)
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, load_trials(Storage(str(place / "runs" / "shared")))


def test_trials_that_share_a_gpu_are_trained_and_the_search_is_extended(device, tmp_path):
    on_gpu = device.type == "cuda"
    resources = {"gpus_per_trial": 0.5 if on_gpu else 0, "cpus_per_trial": 1, "cache_dir": str(tmp_path / "cache")}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH | {"resources": resources}))
    _, trials = search(tmp_path)
    assert [(trial.state, len(trial.epochs)) for trial in trials] == [("completed", 2)] * 3
    names = {torch.cuda.get_device_name() if on_gpu else "cpu"}
    assert {epoch.device for trial in trials for epoch in trial.epochs} == names
    assert all(math.isfinite(epoch.metrics["dev_loss"]) for trial in trials for epoch in trial.epochs)

    _, extended = search(tmp_path, "--resume", "--set", "budget.trials=4")
    assert [trial.state for trial in extended] == ["completed"] * 4
    assert extended[:3] == trials
