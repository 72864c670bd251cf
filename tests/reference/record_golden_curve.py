"""The short training whose losses the golden test compares, and the script that records them.

Run it when a change is meant to alter what training computes (another schedule, other crops, another torch), look at
the difference, and commit the new file with the change that explains it:

    python tests/reference/record_golden_curve.py

One thread and float32 make it the same on one machine every time. Between machines rounding differs; the model and the
learning rate are ones that do not blow it up.
"""

import json
import tempfile
from pathlib import Path

import torch

from trainable.config.loss_config import LossConfig
from trainable.config.sections import DataConfig, ModelConfig, OptimizerConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.trial_data import TrialData, open_trial_data
from trainable.device import Compute
from trainable.training import Training
from trainable.trial_config import TrialConfig

GOLDEN_CURVE = Path(__file__).with_name("golden_curve.json")
RECORDED = ("train_loss", "dev_loss", "miou")

CONFIG = TrialConfig(
    dataset=DatasetConfig(layout="synthetic", images=40, size="64x96"),
    model=ModelConfig(architecture="unet", encoder="resnet18", encoder_weights="none"),
    loss=LossConfig(name="tversky", alpha=0.7, beta=0.3, gamma=1.2),
    optimizer=OptimizerConfig(learning_rate=3e-4),
    data=DataConfig(batch_size=8, crop="64x64", rare_class_first=0.3),
    max_epochs=4,
)


CPU = Compute(torch.device("cpu"), torch.float32)


def golden_curve(data: TrialData, compute: Compute = CPU) -> list[dict[str, float]]:
    """Train, and give each epoch's recorded metrics."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        training = Training(CONFIG, data, compute)
        epochs = range(1, CONFIG.max_epochs + 1)
        outcomes = [training.run_epoch(epoch, lambda: False) for epoch in epochs]
    finally:
        torch.set_num_threads(threads)
    return [{name: outcome.metrics[name] for name in RECORDED} for outcome in outcomes]


def main() -> None:
    """Record."""
    with tempfile.TemporaryDirectory() as cache_dir:
        data = open_trial_data(CONFIG.dataset, Path(cache_dir))
        curve = golden_curve(data)
    content = {
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "data_fingerprint": data.cache.fingerprint,
        "epochs": curve,
    }
    GOLDEN_CURVE.write_text(json.dumps(content, indent=2) + "\n")
    print(GOLDEN_CURVE.read_text())


if __name__ == "__main__":
    main()
