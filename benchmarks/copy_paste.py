"""What copy-paste costs: a training step with an object pasted into every crop, beside the same step without.

Batches are drawn with and without, alternately; a step is the drawing of its batch and the network's forward and
backward pass and update. The network's part is timed on one batch and is the same in both.

    python -m benchmarks.copy_paste --json benchmarks/results/copy_paste.json
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.result import Row, lower_is_better, publish
from benchmarks.synchronise import synchronise
from trainable.batches.crops import CropSampler
from trainable.batches.normalise import normalise
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_set import IGNORED
from trainable.data.trial_data import TrialData, open_trial_data
from trainable.device import Compute, ResourceShare, choose_compute, limit_process
from trainable.network.model import build_model

BATCH = 8
CROPS = ("512x512", "192x192")
IMAGES = "720x1280"
MODEL = ModelConfig(architecture="deeplabv3plus", encoder="tu-tf_mobilenetv3_small_100", encoder_weights="none")


def main() -> None:
    """Time both crop sizes and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--batches", type=int, default=60, help="drawn with and without, each")
    parser.add_argument("--steps", type=int, default=6, help="of the network, each crop size")
    options = parser.parse_args()
    share = ResourceShare(cpus=torch.get_num_threads(), gpus=float(torch.cuda.is_available()))
    limit_process(share)
    compute = choose_compute("auto", share)
    with tempfile.TemporaryDirectory(prefix="copy-paste-") as name:
        data = open_trial_data(DatasetConfig(layout="synthetic", images=40, size=IMAGES), Path(name))
        rows = [row for crop in CROPS for row in _compare(data, crop, compute, options.batches, options.steps)]
    publish("copy_paste", rows, options.json)


def _compare(data: TrialData, crop: str, compute: Compute, batches: int, steps: int) -> list[Row]:
    without, pasting = (
        CropSampler(data.cache, data.splits.train, DataConfig(batch_size=BATCH, crop=crop, copy_paste=share), 0)
        for share in (0.0, 1.0)
    )
    plain, pasted = time_batches(without, pasting, batches)
    network = time_network(*without.batch(1, 0), data.num_classes, compute, steps)
    case = f"batch of {BATCH}, {crop} from {IMAGES}"
    return [
        lower_is_better(f"{case}: drawn with copy_paste 1.0, peer: without, s", pasted, plain),
        lower_is_better(f"{case}: training step likewise, s", network + pasted, network + plain),
    ]


def time_batches(without: CropSampler, pasting: CropSampler, batches: int) -> tuple[float, float]:
    """Median seconds to draw a batch, of both."""
    times: tuple[list[float], list[float]] = ([], [])
    places = [(1 + number // 4, number % 4) for number in range(batches)]
    for epoch, step in places:
        for sampler, seconds in zip((without, pasting), times, strict=True):
            seconds.append(timed(functools.partial(sampler.batch, epoch, step)))
    plain, pasted = times
    return statistics.median(plain), statistics.median(pasted)


def time_network(
    images_NCHW: torch.Tensor, target_NHW: torch.Tensor, classes: int, compute: Compute, steps: int
) -> float:
    """Median seconds of the rest of a training step."""
    model = build_model(MODEL, classes).to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        pixels = normalise(images_NCHW, compute.device)
        with compute.autocast():
            logits = model(pixels)
        target = target_NHW.to(compute.device).long()
        loss = torch.nn.functional.cross_entropy(logits.float(), target, ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()
        synchronise(compute.device)

    return statistics.median([timed(step) for _ in range(steps + 2)][2:])


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
