"""IoU, recall and precision of every class from the labels of one image, beside torchmetrics and scikit-learn.

All are given the same 12 classes in regions of 1280x720 pixels, a part of them ignored, and must give the same matrix;
the three metrics are then made of it alike. A single confusion matrix is the cheapest way to all three that
torchmetrics has; it is measured as it comes, checking its labels as ours does, and without that check. Also measured is
what its users write, a collection of the three metrics. The floor is reading both label images once, at the bandwidth
of a copy. Ours has a process set up as a trial's, the others have one that is set up by nobody.

    python -m benchmarks.confusion --json benchmarks/results/confusion.json
"""

import argparse
import functools
import importlib
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from benchmarks.result import lower_is_better, publish
from benchmarks.sides import two_sides
from benchmarks.synchronise import synchronise
from trainable.data.image_set import IGNORED
from trainable.device import ResourceShare
from trainable.measure.confusion import ClassMetrics, class_metrics, confusion_matrices

CLASSES: Final = 12
SHAPE: Final = (1, 720, 1280)
OURS: Final = "ours"
COPY: Final = "a copy of both label images"

Way = Callable[[Tensor, Tensor], ClassMetrics | None]


def main() -> None:
    """Time all, in turns, and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="a trial on a CPU has one")
    options = parser.parse_args()
    share = ResourceShare(cpus=options.threads, gpus=float(options.device == "cuda"))
    rows = []
    with two_sides(share) as sides:
        processes = dict.fromkeys(_ways(options.device), sides.peer) | {OURS: sides.ours, COPY: sides.ours}
        for dtype in (torch.uint8, torch.int64):
            times = take_turns(processes, dtype, options.device, options.rounds)
            name = str(dtype).removeprefix("torch.")
            case = f"counts and metrics of {CLASSES} classes, 1280x720, {name}, peer: "
            rows += [
                lower_is_better(f"{case}{way} [ms]", times[OURS], taken)
                for way, taken in times.items()
                if way not in (OURS, COPY)
            ]
            floor = times[COPY] / 2  # a copy reads and writes
            print(f"{name}: reading both images takes {floor:.3f} ms, ours {times[OURS] / floor:.0f} times that")
    publish("confusion", rows, options.json)


def take_turns(processes: Mapping[str, Executor], dtype: torch.dtype, device: str, rounds: int) -> dict[str, float]:
    """Median milliseconds of each way in its process; a first round, which is not timed, checks that all agree."""
    for way, process in processes.items():
        process.submit(check_same, way, dtype, device).result()
    times: dict[str, list[float]] = {way: [] for way in processes}
    for _ in range(rounds):
        for way, process in processes.items():
            times[way].append(process.submit(milliseconds, way, dtype, device).result())
    return {way: statistics.median(taken) for way, taken in times.items()}


def check_same(way: str, dtype: torch.dtype, device: str) -> None:
    """Raise unless it gives what a loop over cells gives; in the process that will be timed."""
    prediction, target = labels_in_regions(dtype, device)
    metrics, expected = _ways(device)[way](prediction, target), class_metrics(_loop(prediction, target))
    if metrics is not None:
        for name in ("iou", "recall", "precision"):
            np.testing.assert_allclose(getattr(metrics, name), getattr(expected, name), rtol=1e-6, err_msg=way)


def milliseconds(way: str, dtype: torch.dtype, device: str) -> float:
    """Median of three calls, after one that wakes the process up."""
    prediction, target = labels_in_regions(dtype, device)
    run = _ways(device)[way]
    run(prediction, target)
    taken = []
    for _ in range(3):
        synchronise(prediction.device)
        began = time.perf_counter()
        run(prediction, target)
        synchronise(prediction.device)
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


@functools.cache
def labels_in_regions(dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Predicted and true labels: regions, a tenth of the predictions wrong, a part of the truth ignored."""
    generator = torch.Generator().manual_seed(0)

    def regions(side: int, kinds: int) -> Tensor:
        n, height, width = SHAPE
        labels = torch.randint(kinds, (n, height // side, width // side), generator=generator)
        return labels.repeat_interleave(side, 1).repeat_interleave(side, 2).to(torch.uint8)

    target, wrong, ignored = regions(40, CLASSES), regions(8, 10) == 0, regions(16, 16) == 0
    prediction, truth = torch.where(wrong, regions(8, CLASSES), target), target.masked_fill(ignored, IGNORED)
    return prediction.to(device, dtype), truth.to(device, dtype)


@functools.cache
def _ways(device: str) -> Mapping[str, Way]:
    ways: dict[str, Way] = {OURS: _ours}
    for checks in (True, False):
        metric = MulticlassConfusionMatrix(CLASSES, ignore_index=IGNORED, validate_args=checks).to(device)
        name = f"torchmetrics' confusion matrix{'' if checks else ', unchecked'}"
        ways[name] = lambda prediction, target, metric=metric: class_metrics(metric(prediction, target).cpu().numpy())
    ways["torchmetrics' three metrics"] = _collection(device)
    try:
        metrics = importlib.import_module("sklearn.metrics")
    except ImportError as error:
        print(f"scikit-learn is left out: {error}")
    else:
        ways["scikit-learn's confusion matrix"] = _scikit_learn(metrics.confusion_matrix)
    return ways | {COPY: _copy}


def _ours(prediction: Tensor, target: Tensor) -> ClassMetrics:
    return class_metrics(confusion_matrices(prediction, target, CLASSES, IGNORED)[0].cpu().numpy())


def _collection(device: str) -> Way:
    kinds = {"iou": MulticlassJaccardIndex, "recall": MulticlassRecall, "precision": MulticlassPrecision}
    metrics = MetricCollection(
        {name: kind(CLASSES, average="none", ignore_index=IGNORED) for name, kind in kinds.items()}
    ).to(device)

    def run(prediction: Tensor, target: Tensor) -> ClassMetrics:
        values = {name: value.cpu().double().numpy() for name, value in metrics(prediction, target).items()}
        return ClassMetrics(**values, pixel_accuracy=float("nan"))

    return run


def _scikit_learn(confusion_matrix: Callable[..., NDArray[np.int64]]) -> Way:
    def run(prediction: Tensor, target: Tensor) -> ClassMetrics:
        predicted, true = prediction.cpu().numpy().ravel(), target.cpu().numpy().ravel()
        scored = true != IGNORED
        return class_metrics(confusion_matrix(true[scored], predicted[scored], labels=range(CLASSES)))

    return run


def _copy(prediction: Tensor, target: Tensor) -> None:
    prediction.clone(), target.clone()


def _loop(prediction: Tensor, target: Tensor) -> NDArray[np.int64]:
    """The confusion matrix, cell by cell."""
    matrix = np.zeros((CLASSES, CLASSES), dtype=np.int64)
    for true in range(CLASSES):
        for predicted in range(CLASSES):
            matrix[true, predicted] = int(((target == true) & (prediction == predicted)).sum())
    return matrix


if __name__ == "__main__":
    main()
