"""What tests share: small image sets on disk and in memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import PATIENCE
from xdist.scheduler import LoadFileScheduling

from trainable.config.loss_config import LossConfig
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.components import find_objects
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_set import IGNORED, ImageSet, LabelClass, MaskEncoding, Sample
from trainable.data.trial_data import open_trial_data
from trainable.trial_config import TrialConfig

torch.set_num_threads(1)


_OF_THE_SMOKE_SEARCH = ("test_report.py", "test_mlflow_ui.py")


class FileScheduling(LoadFileScheduling):
    """A file stays on one core, for its fixtures, and so do all files that look at the one smoke search."""

    def _split_scope(self, nodeid):
        file = super()._split_scope(nodeid)
        return "smoke" if file.endswith(_OF_THE_SMOKE_SEARCH) else file


def pytest_xdist_make_scheduler(config, log):
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def hear_signals():
    """`nohup` or `&` before a test run is not meant for the processes that the tests send such signals to."""
    for number, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def keep_denormals():
    """A trial sets its process to flush denormals; hypothesis refuses to draw floats in a process that does."""
    yield
    torch.set_flush_denormal(False)


class ArrayCache:
    """The interface of `trainable.data.image_cache.ImageCache` over arrays of a test; read-only, as the maps are."""

    def __init__(self, pairs, num_classes, thing_labels=()):
        self._pairs = [(np.array(image, dtype=np.uint8), np.array(mask, dtype=np.uint8)) for image, mask in pairs]
        for array in (array for pair in self._pairs for array in pair):
            array.flags.writeable = False
        masks = [mask for _, mask in self._pairs]
        self.shapes = np.array([mask.shape for mask in masks], dtype=np.int64)
        self.pixel_counts = np.array([np.bincount(m.ravel(), minlength=256)[:num_classes] for m in masks])
        self._objects = [find_objects(mask, thing_labels) for mask in masks]

    def __len__(self):
        return len(self._pairs)

    def image(self, index):
        return self._pairs[index][0]

    def mask(self, index):
        return self._pairs[index][1]

    def objects(self, index):
        return self._objects[index]


@pytest.fixture(scope="session")
def array_cache():
    """Makes a cache of (image HxWx3, labels HxW) pairs: `array_cache(pairs, num_classes, thing_labels=())`."""
    return ArrayCache


@pytest.fixture(scope="session")
def write_image_set():
    """Writes (image HxWx3, labels HxW) pairs as PNGs: `write_image_set(folder, pairs, num_classes)`; a scene each."""

    def write(folder: Path, pairs, num_classes: int) -> ImageSet:
        folder.mkdir(parents=True, exist_ok=True)
        samples = []
        for number, (image, mask) in enumerate(pairs):
            name = f"{number:03d}"
            Image.fromarray(np.asarray(image, dtype=np.uint8)).save(folder / f"{name}.png")
            Image.fromarray(np.asarray(mask, dtype=np.uint8)).save(folder / f"{name}_mask.png")
            samples.append(Sample(name, folder / f"{name}.png", folder / f"{name}_mask.png", name, "train"))
        classes = tuple(LabelClass(f"class {label}", (label, 0, 0), False) for label in range(num_classes))
        ids = {label: label for label in range(num_classes)} | {IGNORED: IGNORED}
        return ImageSet("small", classes, MaskEncoding("ids", ids=ids), tuple(samples))

    return write


@pytest.fixture(scope="session")
def synthetic_config():
    """The smallest synthetic set."""
    return DatasetConfig(layout="synthetic", images=40, size="64x96")


@pytest.fixture
def dropout_trial(synthetic_config):
    """A trial of DeepLabV3+, for its dropout: random numbers are drawn in every step."""
    return TrialConfig(
        dataset=synthetic_config,
        model=ModelConfig(architecture="deeplabv3plus", encoder="timm-mobilenetv3_small_100", encoder_weights="none"),
        loss=LossConfig(name="tversky", alpha=0.7, beta=0.3),
        data=DataConfig(batch_size=8, crop="32x32", rare_class_first=0.3),
        max_epochs=3,
    )


@pytest.fixture(scope="session")
def synthetic_cache_dir(tmp_path_factory):
    """Where the session keeps decoded images."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def synthetic_data(synthetic_config, synthetic_cache_dir):
    """The smallest synthetic set, opened."""
    return open_trial_data(synthetic_config, synthetic_cache_dir)


SMALLER_SMOKE = {
    "dataset.images": "40",
    "dataset.scenes": "20",
    "dataset.size": "64x64",
    "space.data.crops_per_image": "1",
    "space.data.batch_size": "4",
    "budget.trials": "5",
    "budget.max_epochs": "2",
    "scheduler.grace_epochs": "1",
    "confirm.best_of_each_loss": "false",
    "confirm.top": "2",
    "confirm.seeds": "2",
    "report.top": "2",
}
"""What makes of `examples/smoke.yaml` a search of seconds: five trials of three losses, two of them confirmed."""


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A folder in which a small smoke search ran as its user runs it, confirmation and report included.

    `runs/smoke` is the search, `runs/mlflow.db` the store, `printed` what it said.
    """
    place = tmp_path_factory.mktemp("smoke")
    config = Path(__file__).parents[1] / "examples" / "smoke.yaml"
    overrides = SMALLER_SMOKE | {"resources.cache_dir": str(place / "cache")}
    options = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "aerosweep", "search", str(config), "--output", "runs", *options]
    environment = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=3 * PATIENCE, check=False, cwd=place, env=environment
    )
    (place / "printed").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return place
