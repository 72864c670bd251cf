"""The evaluation of images of 1280x720 beside a loop with torchmetrics, what its parts cost, and its memory.

Ours is all that a trial does after an epoch: labels, counts, objects, logit adjustment and loss, in the precision and
memory format of trials. The loop is what one would write: an image at a time decoded by PIL, normalised, padded, put
through the same network in float32, argmax, IoU by torchmetrics; no objects, no adjustment, no loss. It has a process
of its own, which nothing of ours has set up. In float32 both must count the same, but for a pixel in 100,000 where two
logits differ in last bits alone. They take turns, ten images each, on as many threads; the floor is the forward pass of
our network alone.

Then what object counts and logit adjustment add to the evaluation of an image, beside the same evaluation without, on
one core: a ratio is the median over images of what the two ways take. A network that was trained for some steps
predicts regions; an untrained one predicts noise: thousands of objects, and labels that change with the strength of the
adjustment nearly everywhere.

At last the memory: how much the peak of the process grows with an image of 6000x4000, beside one of a quarter of it.

    python -m benchmarks.evaluation --json benchmarks/results/evaluation.json
"""

import argparse
import copy
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torchmetrics.classification import MulticlassJaccardIndex

from benchmarks.result import Row, lower_is_better, publish
from benchmarks.synchronise import synchronise
from trainable.batches.crops import CropSampler
from trainable.batches.normalise import normalise
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_cache import ImageCache, open_cache
from trainable.data.image_set import IGNORED
from trainable.data.trial_data import TrialData, open_trial_data
from trainable.device import (
    Compute,
    ResourceShare,
    choose_compute,
    free_memory,
    limit_process,
    peak_memory_mb,
    reset_peak_memory,
)
from trainable.losses import CrossEntropyLoss
from trainable.measure.confusion import class_metrics
from trainable.measure.evaluation import Scoring, evaluate
from trainable.measure.logit_adjustment import TAUS, log_priors
from trainable.network.model import build_model

IMAGES: Final = "720x1280"
CHUNK: Final = 10
DATASET: Final = DatasetConfig(layout="synthetic", images=40, size=IMAGES)
LARGE: Final = ((4000, 6000), (2000, 3000))
MODEL = ModelConfig(architecture="deeplabv3plus", encoder="tu-tf_mobilenetv3_small_100", encoder_weights="none")
CRITERION = CrossEntropyLoss(ignore_index=IGNORED)


def main() -> None:
    """Time all and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=40, help="evaluated by ours and by the loop")
    parser.add_argument("--part-images", type=int, default=6, help="evaluated in each of the ways to count")
    parser.add_argument("--steps", type=int, default=40, help="that the trained network has had")
    parser.add_argument("--encoder", default=MODEL.encoder)
    options = parser.parse_args()
    share = ResourceShare(gpus=float(options.device == "cuda"))
    limit_process(share)
    compute = choose_compute("auto", share)
    with tempfile.TemporaryDirectory(prefix="evaluation-") as name:
        data = open_trial_data(DATASET, Path(name))
        config = MODEL.model_copy(update={"encoder": options.encoder})
        model = build_model(config, data.num_classes).to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
        parts = _compare("untrained", model, data, compute, options.part_images)
        train(model, data, compute, options.steps)
        parts += _compare(f"after {options.steps} steps", model, data, compute, options.part_images)
        torch.save(model.state_dict(), Path(name) / "weights.pt")
        rows: list[Row] = []
        for threads in (1, 2) if options.device == "cpu" else (1,):
            start = (config, Path(name), options.device, threads)
            with ProcessPoolExecutor(1, get_context("spawn"), start_loop, start) as peer:
                torch.set_num_threads(threads)
                rows += beside_loop(model, data, compute, peer, options.images // threads, threads)
        torch.set_num_threads(1)
        rows += parts + large_images(model, data, compute, Path(name))
    publish("evaluation", rows, options.json)


def beside_loop(
    model: nn.Module, data: TrialData, compute: Compute, peer: Executor, images: int, threads: int
) -> list[Row]:
    """Seconds an image of ours, of the loop, and of our forward pass alone."""
    _check_same(model, data, compute, peer)
    times: dict[str, list[float]] = {"ours": [], "loop": [], "decode": [], "forward": []}
    for begin in range(0, images, CHUNK):
        indices = [index % len(data.cache) for index in range(begin, begin + CHUNK)]
        began = time.perf_counter()
        evaluate(model, CRITERION, data.cache, indices, compute, _scoring(data))
        times["ours"].append((time.perf_counter() - began) / CHUNK)
        looped = peer.submit(loop, indices).result()
        times["loop"].append(looped.seconds / CHUNK)
        times["decode"].append(looped.decoding / CHUNK)
        times["forward"].append(forward_alone(model, compute))
    ours, theirs, decode, forward = (statistics.median(seconds) for seconds in times.values())
    print(
        f"{threads} threads: the forward pass is {forward / ours:.0%} of ours; PIL is {decode / theirs:.0%} of the loop"
    )
    case = f"an image of {IMAGES}, {compute.device.type}, {threads} threads, all that a trial counts, peer: "
    return [
        lower_is_better(f"{case}PIL and torchmetrics without objects [s]", ours, theirs),
        lower_is_better(f"{case}the same without the time of PIL [s]", ours, theirs - decode),
        lower_is_better(f"{case}our forward pass alone, the floor [s]", ours, forward),
    ]


@dataclass(frozen=True)
class Looped:
    """What the loop gave.

    Attributes:
        matrix: int64 (classes x classes).
        seconds: That it took.
        decoding: Those of PIL among them.
    """

    matrix: NDArray[np.int64]
    seconds: float
    decoding: float


def start_loop(config: ModelConfig, folder: Path, device: str, threads: int) -> None:
    """Make the network in the process of the loop."""
    global _loop_data, _loop_network
    torch.set_num_threads(threads)
    _loop_data = open_trial_data(DATASET, folder)
    _loop_network = build_model(config, _loop_data.num_classes)
    _loop_network.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    _loop_network.eval().to(device)


def loop(indices: Sequence[int]) -> Looped:
    """What one would write."""
    device = next(_loop_network.parameters()).device
    metric = MulticlassJaccardIndex(_loop_data.num_classes, average="none", ignore_index=IGNORED).to(device)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    decoding, began = 0.0, time.perf_counter()
    with torch.no_grad():
        for index in indices:
            opened = time.perf_counter()
            sample = _loop_data.image_set.samples[index]
            image, mask = np.array(Image.open(sample.image)), np.array(Image.open(sample.mask))
            decoding += time.perf_counter() - opened
            pixels = (torch.from_numpy(image).permute(2, 0, 1).float() / 255 - mean) / std
            target = torch.from_numpy(mask).long()
            height, width = target.shape
            padded = nn.functional.pad(pixels, (0, -width % 32, 0, -height % 32))
            logits = _loop_network(padded[None].to(device))[:, :, :height, :width]
            metric.update(logits.argmax(dim=1), target[None].to(device))
        metric.compute()
        matrix = metric.confmat.cpu().numpy()
    return Looped(matrix, time.perf_counter() - began, decoding)


def _check_same(model: nn.Module, data: TrialData, compute: Compute, peer: Executor) -> None:
    """Raise unless we count what the loop counts: in float32 but for last bits, in the precision of trials nearly."""
    indices = range(2)
    expected = peer.submit(loop, indices).result().matrix
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for network, dtype, most in ((plain, torch.float32, 1e-5), (model, compute.dtype, 0.02)):
        ours = evaluate(network, CRITERION, data.cache, indices, Compute(compute.device, dtype), _scoring(data)).matrix
        moved = np.abs(ours - expected).sum() / 2 / expected.sum()
        apart = abs(class_metrics(ours).mean_iou - class_metrics(expected).mean_iou)
        print(f"ours in {dtype} and the loop: mIoU {apart:.1e} apart, {moved:.1e} of all pixels labelled otherwise")
        if max(moved, apart) > most:
            raise RuntimeError(f"ours in {dtype} and the loop are more than {most} apart")


def forward_alone(model: nn.Module, compute: Compute) -> float:
    """Seconds of one pass of an image, padded as evaluation pads it; median of three."""
    height, width = (32 * -(-int(side) // 32) for side in IMAGES.split("x"))
    pixels = torch.randn(1, 3, height, width).to(compute.device, memory_format=compute.memory_format)
    seconds = []
    for _ in range(3):
        synchronise(compute.device)
        began = time.perf_counter()
        with torch.no_grad(), compute.autocast():
            model(pixels)
        synchronise(compute.device)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def large_images(model: nn.Module, data: TrialData, compute: Compute, folder: Path) -> list[Row]:
    """By how many MiB the peak of memory grows while one image of each size is evaluated, the larger one first."""
    grown = []
    for size in LARGE:
        cache = _tiled(data, size, folder / f"{size[0]}")
        free_memory()
        before = resident_mebibytes()
        reset_peak_memory(compute.device)
        evaluate(model, CRITERION, cache, [0], compute, _scoring(data))
        grown.append(peak_memory_mb(compute.device) - before)
    (height, width), (quarter_height, quarter_width) = LARGE
    case = f"peak memory over what was there, an image of {height}x{width}, peer: of {quarter_height}x{quarter_width}"
    return [lower_is_better(f"{case} [MiB]", *grown)]


def resident_mebibytes() -> float:
    """What this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _tiled(data: TrialData, size: tuple[int, int], folder: Path) -> ImageCache:
    """One image of this size, made of the first ones of the set side by side."""
    folder.mkdir()
    across, down = -(-size[1] // data.cache.shapes[0][1]), -(-size[0] // data.cache.shapes[0][0])
    files = []
    for name, part in (("image", data.cache.image), ("mask", data.cache.mask)):
        rows = [np.concatenate([part((row + column) % 8) for column in range(across)], axis=1) for row in range(down)]
        files.append(folder / f"{name}.bmp")
        Image.fromarray(np.concatenate(rows)[: size[0], : size[1]]).save(files[-1])
    sample = replace(data.image_set.samples[0], image=files[0], mask=files[1])
    return open_cache(replace(data.image_set, samples=(sample,)), folder)


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
    both = _scoring(data)
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


def _scoring(data: TrialData) -> Scoring:
    pixel_counts = data.cache.pixel_counts[list(data.splits.train)].sum(axis=0)
    return Scoring(data.image_set.thing_labels, 4, log_priors(pixel_counts), TAUS)


def train(model: nn.Module, data: TrialData, compute: Compute, steps: int) -> None:
    """Train until predictions are regions."""
    sampler = CropSampler(data.cache, data.splits.train, DataConfig(batch_size=8, crop="256x256"), 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(steps):
        images_NCHW, target_NHW = sampler.batch(1 + step // sampler.steps, step % sampler.steps)
        with compute.autocast():
            logits = model(normalise(images_NCHW, compute.device))
        loss = CRITERION(logits.float(), target_NHW.to(compute.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
