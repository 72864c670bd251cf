"""What object counts and logit adjustment add to the evaluation of an image, beside the same evaluation without.

On one core, or a GPU, images of 1280x720 are evaluated one by one, in all four ways in turn; a ratio is the median over
images of what the two ways take. A network that was trained for some steps predicts regions, an untrained one predicts
noise: thousands of objects, and labels that change with the strength of the adjustment nearly everywhere.

    python -m benchmarks.evaluation --json benchmarks/results/evaluation.json
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmarks.result import Row, publish
from trainable.config import DataConfig, ModelConfig
from trainable.crops import CropSampler
from trainable.dataset_config import DatasetConfig
from trainable.device import Compute, Share, choose_compute, limit_process
from trainable.evaluation import Scoring, evaluate
from trainable.image_set import IGNORED
from trainable.logit_adjustment import TAUS, log_priors
from trainable.losses import CrossEntropyLoss
from trainable.model import build_model
from trainable.pixels import normalise
from trainable.trial_data import TrialData, open_trial_data

IMAGES = "720x1280"
MODEL = ModelConfig(architecture="deeplabv3plus", encoder="tu-tf_mobilenetv3_small_100", encoder_weights="none")
CRITERION = CrossEntropyLoss(ignore_index=IGNORED)


def main() -> None:
    """Time both networks and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", type=int, default=24, help="evaluated in each of the four ways")
    parser.add_argument("--steps", type=int, default=60, help="that the trained network has had")
    options = parser.parse_args()
    share = Share(gpus=float(torch.cuda.is_available()))
    limit_process(share)
    compute = choose_compute("auto", share)
    with tempfile.TemporaryDirectory(prefix="evaluation-") as name:
        data = open_trial_data(DatasetConfig(layout="synthetic", images=40, size=IMAGES), Path(name))
        model = build_model(MODEL, data.num_classes).to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
        rows = _compare("untrained", model, data, compute, options.images)
        train(model, data, compute, options.steps)
        rows += _compare(f"after {options.steps} steps", model, data, compute, options.images)
    publish("evaluation", rows, options.json)


def _compare(network: str, model: nn.Module, data: TrialData, compute: Compute, images: int) -> list[Row]:
    times = time_images(model, data, compute, images)
    case = f"an image of {IMAGES}, network {network}, peer: pixels alone: "
    return [_row(f"{case}{way} [s]", seconds, times["pixels"]) for way, seconds in times.items() if way != "pixels"]


def _row(case: str, ours: list[float], peer: list[float]) -> Row:
    # In pairs: what else the machine does changes from image to image.
    ratio = statistics.median(theirs / mine for mine, theirs in zip(ours, peer, strict=True))
    return Row(case, statistics.median(ours), statistics.median(peer), ratio)


def time_images(model: nn.Module, data: TrialData, compute: Compute, images: int) -> dict[str, list[float]]:
    """Seconds of each image, by what is counted; a first round warms up and is not timed."""
    pixel_counts = data.cache.pixel_counts[list(data.splits.train)].sum(axis=0)
    both = Scoring(data.image_set.thing_labels, 4, log_priors(pixel_counts), TAUS)
    ways = {
        "pixels": replace(both, thing_labels=(), taus=()),
        "with objects": replace(both, taus=()),
        f"with {len(TAUS)} taus": replace(both, thing_labels=()),
        "with both": both,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(images + 1):
        for way, scoring in ways.items():
            began = time.perf_counter()
            evaluate(model, CRITERION, data.cache, [number % len(data.cache)], compute, scoring)
            if number > 0:
                times[way].append(time.perf_counter() - began)
    return times


def train(model: nn.Module, data: TrialData, compute: Compute, steps: int) -> None:
    """Train until predictions are regions."""
    sampler = CropSampler(data.cache, data.splits.train, DataConfig(batch_size=8, crop="256x256"), 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(steps):
        images_NCHW, target_NHW = sampler.batch(1 + step // sampler.steps, step % sampler.steps)
        with compute.autocast():
            logits = model(normalise(images_NCHW, compute.device, compute.memory_format))
        loss = CRITERION(logits.float(), target_NHW.to(compute.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
