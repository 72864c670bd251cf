"""What CONTRIBUTING promises: a loss, an architecture, an augmentation, a layout, a metric and a figure in one place.

One of each is added to a copy of the packages as its author would add it: the thing itself, and one entry. A search
with all of them runs from there, and everything that should know of them does.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml
from waiting import PATIENCE

from trainable.data.synthetic.synthesize import synthesize
from trainable.record.storage import Storage
from trainable.record.trial_record import load_trials

pytestmark = pytest.mark.filterwarnings("default")

ROOT = Path(__file__).parents[2]
PACKAGES = ("aerosweep", "search", "trainable", "analysis")

THINGS = {
    "trainable/losses/power_iou.py": '''
"""An IoU loss to a power."""

from trainable.losses.region import RegionLoss


class PowerIoULoss(RegionLoss):
    """(1 - IoU)^sharpness, mean over classes."""

    def __init__(self, *, sharpness: float, ignore_index: int | None = None) -> None:
        super().__init__(alpha=1.0, beta=1.0, gamma=sharpness, ignore_index=ignore_index)
''',
    "trainable/network/flat_net.py": '''
"""A network of two convolutions."""

from torch import Tensor, nn


class FlatNet(nn.Module):
    """Takes what every architecture takes, and uses the number of classes."""

    def __init__(self, encoder_name: str, encoder_weights: str | None, classes: int, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, classes, 1))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self.body(images_NCHW)
''',
    "trainable/batches/blackout.py": '''
"""Crops that are black now and then."""

from typing import ClassVar


class Blackout:
    """Makes a crop black with a probability."""

    draws: ClassVar[int] = 1

    def __init__(self, value: float) -> None:
        self.probability = value

    def __call__(self, image_CHW, mask_HW, numbers) -> None:
        if numbers[0] < self.probability:
            image_CHW.zero_()
''',
    "trainable/data/layouts/nested.py": '''
"""A set of AeroScapes' layout in a folder named `inner`."""

from trainable.data.layouts.aeroscapes import scan_aeroscapes


def read(config, cache_dir, say):
    return scan_aeroscapes(config.root / "inner")
''',
    "trainable/measure/worst_recall.py": '''
"""Recall of the class that is recalled least."""

from trainable.measure.metric_functions import least_of_present, recall


def worst_recall(sums):
    return least_of_present(recall(sums))
''',
    "analysis/subjects/endings/__init__.py": '"""How trials ended."""\n',
    "analysis/subjects/endings/plate.py": '''
"""The plate of how trials ended."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.subjects.plate import Plate

ENDINGS = "How the trials ended"


def endings_plate(search):
    rows = [(trial.trial_id, trial.run_id, trial.state) for trial in search.trials]
    frame = pd.DataFrame(rows, columns=["trial_id", "run_id", "state"])

    def draw(palette):
        figure, axes = plt.subplots()
        axes.bar(*zip(*frame["state"].value_counts().items(), strict=True))
        return figure

    shown = {"shows": "Trials by their end.", "says": "", "alt": "Bars."}
    return Plate(key="endings", title=ENDINGS, table=frame, draw=draw, **shown)
''',
}

ENTRIES = {
    "trainable/config/loss_registry.py": {
        '    "tversky": Loss(': """    "power_iou": Loss(
        "region",
        "trainable.losses.power_iou:PowerIoULoss",
        "power IoU",
        {"sharpness": Parameter(Annotated[float, Field(gt=0)], "Exponent.", short="s={}", words="sharpness {}")},
    ),
"""
    },
    "trainable/config/architectures.py": {
        '    "unetplusplus": Architecture(': """    "flat": Architecture(
        "trainable.network.flat_net:FlatNet", "Flat", {"width": 6}
    ),
"""
    },
    "trainable/config/sections.py": {
        '\n    @model_validator(mode="after")\n    def _scales_in_order': """    blackout: Annotated[
        float, Field(ge=0, le=1), Augmentation("trainable.batches.blackout:Blackout")
    ] = 0.0
"""
    },
    "trainable/data/layout_registry.py": {
        '    "synthetic": Layout(': """    "nested": Layout(
        "trainable.data.layouts.nested:read", requires={"root": "Give the folder of `inner`"}
    ),
"""
    },
    "trainable/config/metric_registry.py": {
        '    "iou": MetricEntry(': """    "worst_recall": MetricEntry(
        "trainable.measure.worst_recall:worst_recall", "classes", "worst recall", "worst rec."
    ),
"""
    },
    "analysis/report/figures.py": {
        "from analysis.subjects.example_images": "from analysis.subjects.endings.plate import ENDINGS, endings_plate\n",
        "    SearchFigure(LOSSES_COMPARED": "    SearchFigure(ENDINGS, endings_plate),\n",
    },
}
"""By file: the line before which an entry stands, and the entry."""

LEFT_OUT = {"analysis/report/figures.py": ("    name = trial.trial_id", "    return [\n        (DISTRIBUTION")}
"""By file: where functions return nothing in the copy, whose figures take long to draw and know of no addition."""

SEARCH = {
    "name": "added",
    "storage": "runs",
    "objective": ["miou", "worst_recall"],
    "space": {
        "model": {
            "architecture": ["flat", "unet"],
            "encoder": "tu-tf_mobilenetv3_small_100",
            "encoder_weights": "none",
        },
        "loss": {"name": ["power_iou", "dice"], "sharpness": {"low": 0.5, "high": 2.0}},
        "data": {"batch_size": 4, "crop": "64x64", "blackout": [0.0, 1.0]},
    },
    "baselines": [
        {"model.architecture": "flat", "loss.name": "power_iou", "loss.sharpness": 1.25, "data.blackout": 1.0},
        {"model.architecture": "flat", "loss.name": "power_iou", "loss.sharpness": 1.25, "data.blackout": 0.0},
    ],
    "budget": {"trials": 2, "max_epochs": 1},
    "scheduler": {"grace_epochs": 1},
    "report": {"top": 1},
    "runtime": {"precision": "fp32"},
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with the packages, to which one of each has been added."""
    folder = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in THINGS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.lstrip("\n"))
    for name, entries in ENTRIES.items():
        text = (folder / name).read_text()
        for before, entry in entries.items():
            assert text.count(before) == 1, name
            text = text.replace(before, entry + before)
        (folder / name).write_text(text)
    for name, places in LEFT_OUT.items():
        text = (folder / name).read_text()
        for place in places:
            assert text.count(place) == 1, name
            text = text.replace(place, f"    return []\n{place}")
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def searched(copy):
    """The folder of a search that ran from the copy."""
    synthesize(copy / "images" / "inner", 40, (64, 64), 0)
    values = SEARCH | {
        "dataset": {"layout": "nested", "root": "images"},
        "resources": {"cache_dir": str(copy / "cache")},
    }
    (copy / "search.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "aerosweep", "search", "search.yaml"]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False, cwd=copy, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "runs", done.stdout


@pytest.fixture(scope="module")
def trials(searched):
    runs, _ = searched
    return load_trials(Storage(str(runs / "added")))


def test_the_loss_is_searched_with_its_own_parameter_and_named_in_tables(searched, trials):
    runs, said = searched
    assert [trial.state for trial in trials] == ["completed"] * 2, said
    loss = trials[0].spec.config["loss"]
    assert {key: value for key, value in loss.items() if value not in (None, {})} == {
        "name": "power_iou",
        "sharpness": 1.25,
    }
    board = csv.DictReader((runs / "added" / "leaderboard.csv").read_text().splitlines())
    assert {row["trial"]: row["loss"] for row in board}["t0000"] == "power_iou s=1.25"


def test_the_architecture_is_built_with_its_options_and_named_in_the_report(searched, trials):
    runs, _ = searched
    assert [trial.spec.config["model"]["architecture"] for trial in trials] == ["flat", "flat"]
    assert "power IoU (sharpness 1.25) on Flat" in (runs / "added" / "report" / "report.html").read_text()


def test_the_augmentation_changes_what_is_learned_and_nothing_else(trials):
    black, plain = trials
    configs = [dict(trial.spec.config["data"]) for trial in (black, plain)]
    assert [config.pop("blackout") for config in configs] == [1.0, 0.0]
    assert configs[0] == configs[1]
    assert black.epochs[0].metrics["train_loss"] != plain.epochs[0].metrics["train_loss"]


def test_the_layout_is_read_where_the_entry_says(copy, trials):
    assert {trial.spec.config["dataset"]["layout"] for trial in trials} == {"nested"}
    assert trials[0].spec.config["dataset"]["root"] == str(copy / "images")


def test_the_metric_is_recorded_and_is_an_objective(searched, trials):
    runs, said = searched
    for trial in trials:
        metrics = trial.epochs[0].metrics
        recalls = [value for name, value in metrics.items() if name.startswith("recall/")]
        assert metrics["worst_recall"] == min(recalls)
    assert re.search(r"Leaderboard.*\bworst\b.*\n.*\brec\.", said, re.DOTALL)
    client = mlflow.MlflowClient(f"sqlite:///{runs}/mlflow.db")
    experiment = client.get_experiment_by_name("aerosweep")
    found = client.search_runs([experiment.experiment_id], "tags.`aerosweep.trial` = 't0000'")
    assert found[0].data.metrics["worst_recall"] == trials[0].epochs[0].metrics["worst_recall"]


def test_the_figure_is_in_the_report(searched):
    runs, _ = searched
    report = runs / "added" / "report"
    assert "How the trials ended" in (report / "report.html").read_text()
    assert any(file.stem.endswith("endings") for file in report.rglob("*.csv"))
