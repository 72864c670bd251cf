"""What a compound or class-weighted loss costs: a whole training step, beside the same step with a term alone.

The network, its batch and its optimizer are the same; the losses take turns, so that what else the machine does falls
on all of them. The requirement is 10 %: a ratio of 0.91 or more.

    python -m benchmarks.loss_step --json benchmarks/results/loss_step.json
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from benchmarks.result import Row, lower_is_better, publish
from benchmarks.synchronise import synchronise
from trainable.config.loss_config import LossConfig
from trainable.config.sections import ModelConfig
from trainable.device import Compute, ResourceShare, choose_compute, limit_process
from trainable.losses.loss_factory import build_loss
from trainable.network.model import build_model

CLASSES: Final = 12
BATCH: Final = 8
CROPS: Final = (192, 512)
MODEL: Final = ModelConfig(architecture="deeplabv3plus", encoder="tu-tf_mobilenetv3_small_100", encoder_weights="none")
TVERSKY: Final = {"alpha": 0.7, "beta": 0.3}

PAIRS: Final[tuple[tuple[str, dict[str, Any], dict[str, Any]], ...]] = (
    ("cross entropy + Dice, peer: Dice", {"name": "compound"}, {"name": "dice"}),
    (
        "focal + Tversky, peer: Tversky",
        {"name": "compound", "pixel": "focal", "focal_gamma": 2.0, "region": "tversky", **TVERSKY},
        {"name": "tversky", **TVERSKY},
    ),
    (
        "class-weighted cross entropy, peer: plain",
        {"name": "cross_entropy", "class_weight_power": 0.5},
        {"name": "cross_entropy"},
    ),
)


class Step:
    """A training step of one network, with any loss.

    Args:
        side: Of a crop, in pixels.
        compute: Device and precision.
    """

    def __init__(self, side: int, compute: Compute) -> None:
        generator = torch.Generator().manual_seed(0)
        images_NCHW = torch.randn(BATCH, 3, side, side, generator=generator)
        blocks = torch.randint(0, CLASSES, (BATCH, side // 16, side // 16), generator=generator)
        target_NHW = blocks.repeat_interleave(16, 1).repeat_interleave(16, 2)
        self._pixels = images_NCHW.to(compute.device, memory_format=compute.memory_format)
        self._target = target_NHW.to(compute.device)
        model = build_model(MODEL, CLASSES)
        self._model = model.to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
        self._optimizer = torch.optim.AdamW(self._model.parameters())
        self._compute = compute

    def seconds(self, loss: nn.Module) -> float:
        """Take the step and time it."""
        began = time.perf_counter()
        with self._compute.autocast():
            logits = self._model(self._pixels)
        value = loss(logits, self._target)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        self._optimizer.step()
        synchronise(self._compute.device)
        return time.perf_counter() - began


def compare(step: Step, ours: LossConfig, peer: LossConfig, runs: int, device: torch.device) -> tuple[float, float]:
    """Median seconds of a step with each loss, in turns A B A B."""
    counts = np.full(CLASSES, 1000, dtype=np.int64)
    losses = [build_loss(config, counts).to(device) for config in (ours, peer)]
    times: list[list[float]] = [[], []]
    for number in range(runs + 2):
        for seconds, loss in zip(times, losses, strict=True):
            taken = step.seconds(loss)
            if number >= 2:
                seconds.append(taken)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> None:
    """Time all pairs and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=15, help="steps with each loss, at the smaller crop; a third else")
    parser.add_argument("--threads", type=int, default=1, help="a trial on a CPU has one")
    options = parser.parse_args()
    share = ResourceShare(cpus=options.threads, gpus=float(torch.cuda.is_available()))
    limit_process(share)
    compute = choose_compute("auto", share)
    rows: list[Row] = []
    for side in CROPS:
        step = Step(side, compute)
        runs = options.runs if side == CROPS[0] else max(3, options.runs // 3)
        for name, ours, peer in PAIRS:
            figures = compare(step, LossConfig(**ours), LossConfig(**peer), runs, compute.device)
            rows.append(lower_is_better(f"step of {BATCH} crops {side}x{side}, {name}, s", *figures))
    publish("loss_step", rows, options.json)


if __name__ == "__main__":
    main()
