"""A loss and a model of the user's own, in the folder where the command is started, searched like the built-in ones."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from waiting import PATIENCE

from trainable.network.trained_model import load_trained_model
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

MODULE = '''
import torch
from torch import nn
from torch.nn import functional as F


class PolyLoss(nn.Module):
    """Poly-1 cross entropy (Leng et al. 2022): -log p + epsilon * (1 - p), p being the true class's probability."""

    def __init__(self, epsilon: float, ignore_index: int) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.ignore_index = ignore_index

    def forward(self, logits, target):
        cross_entropy = F.cross_entropy(logits, target, ignore_index=self.ignore_index, reduction="none")
        valid = target != self.ignore_index
        poly = cross_entropy + self.epsilon * (1 - torch.exp(-cross_entropy))
        return (poly * valid).sum() / valid.sum().clamp(min=1)


class SmallNet(nn.Module):
    """Two convolutions at half the resolution."""

    def __init__(self, num_classes: int, width: int = 8) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.classify = nn.Conv2d(width, num_classes, 3, padding=1)

    def forward(self, images):
        logits = self.classify(self.down(images))
        return F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
'''

LOSS = "my_classes:PolyLoss"
NET = "my_classes:SmallNet"


@pytest.fixture(scope="module")
def searched(tmp_path_factory, search_cache, make_small_search):
    """The console script: unlike `python -m`, it does not look for modules where it is started."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "my_classes.py").write_text(MODULE)
    space = {
        "model": {
            "architecture": [NET, "unet"],
            "encoder": "tu-tf_mobilenetv3_small_100",
            "encoder_weights": "none",
            "options": {"width": [4, 12]},
        },
        "loss": {"name": ["dice", LOSS], "options": {"epsilon": {"low": -1.0, "high": 4.0}}},
        "data": {"batch_size": 4, "crop": "64x64"},
    }
    budget, confirm = {"trials": 5, "max_epochs": 1}, {"top": 5}  # the weights of all are kept
    config = make_small_search("runs", search_cache, space=space, budget=budget, confirm=confirm)
    (folder / "search.yaml").write_text(yaml.safe_dump(config))
    command = [str(Path(sys.executable).with_name("aerosweep")), "search", "search.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, load_trials(Storage(str(folder / "runs" / "small")))


def test_workers_find_the_classes(searched):
    _, trials = searched
    assert [trial.state for trial in trials] == ["completed"] * 5
    tried = {(trial.spec.config["model"]["architecture"], trial.spec.config["loss"]["name"]) for trial in trials}
    assert tried == {(NET, "dice"), (NET, LOSS), ("unet", "dice"), ("unet", LOSS)}


def test_options_are_recorded_and_exist_under_their_class_only(searched):
    _, trials = searched
    for trial in trials:
        model, loss = trial.spec.config["model"], trial.spec.config["loss"]
        assert model["options"].keys() == ({"width"} if model["architecture"] == NET else set())
        assert loss["options"].keys() == ({"epsilon"} if loss["name"] == LOSS else set())
        assert model["options"].get("width", 4) in (4, 12)
        assert -1 <= loss["options"].get("epsilon", 0) <= 4


def test_the_trained_model_is_loaded_with_its_options(searched, monkeypatch):
    folder, trials = searched
    monkeypatch.syspath_prepend(folder)
    own = [trial.spec for trial in trials if trial.spec.config["model"]["architecture"] == NET]
    assert len(own) >= 2
    for spec in own:
        model = load_trained_model(str(folder / "runs" / "small"), spec.trial_id)
        assert model.classify.in_channels == spec.config["model"]["options"]["width"]
