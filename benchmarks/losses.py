"""What a loss costs, forward and backward: seconds and peak extra memory, beside segmentation_models_pytorch and torch.

Each peer has the same logits and target, takes turns with ours (A B A B, medians, each in a process of its own, ours
set up as a trial's), and must compute the same, else this raises: ours is held to the peer's value and gradient in
float64, the peer to its own (smp's sums in float32 leave it further off than ours). Where they would differ, the
settings are chosen so that they agree: the gamma of Tversky on the mean over classes, smp's alpha and beta swapped,
every class present. smp's FocalLoss alone is another loss, a sigmoid focal loss of each class against the rest; its
softmax focal loss, a function of the same library, is what ours is checked against and a second peer.

float32 logits are contiguous; bfloat16 ones are channels_last, as a network under autocast gives them, and the peers
get `logits.float()`, since in bfloat16 their values are off by up to 0.6 %.

Peak extra memory is the most that torch had allocated at once between a call's start and its end, the gradient
included, the logits and the target not: on the CPU summed up from the allocations that torch's profiler records, on a
GPU `max_memory_allocated`. A trial's process keeps what it frees; where it does not, and the system hands out memory in
pages of 4 KiB, fresh memory can be a third of a loss's time.

The last rows have the floor for a peer: what it takes to read the logits twice and write their gradient at the speed of
a copy, or to compute two exponentials a logit from a cache, whichever is more.

    python -m benchmarks.losses --json benchmarks/results/losses.json
"""

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from segmentation_models_pytorch import losses as smp
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits
from torch import Tensor

from benchmarks.result import Row, lower_is_better, publish
from benchmarks.sides import Sides, two_sides
from benchmarks.synchronise import synchronise
from trainable.device import ResourceShare
from trainable.losses import CompoundLoss, CrossEntropyLoss, DiceLoss, FocalLoss, IoULoss, TverskyLoss

CLASSES: Final = 12
SHAPE: Final = (2, CLASSES, 512, 512)
LAYOUTS: Final = {torch.float32: torch.contiguous_format, torch.bfloat16: torch.channels_last}
PASSES_OVER_MEMORY: Final = 3
EXPONENTIALS: Final = 2

Loss = Callable[[Tensor, Tensor], Tensor]


class Pair(NamedTuple):
    """Our loss and its peer.

    Attributes:
        name: Of the row.
        ours: Called with the logits as they are.
        peer: Called with the logits in float32.
        same: Whether both give the same value and gradient.
    """

    name: str
    ours: Loss
    peer: Loss
    same: bool = True


def pairs() -> list[Pair]:
    """All comparisons."""
    focal, dice = FocalLoss(gamma=2.0), smp.DiceLoss("multiclass")
    compound = CompoundLoss(pixel=CrossEntropyLoss(), region=DiceLoss(), region_weight=0.5)
    return [
        Pair(
            "Tversky, peer: smp",
            TverskyLoss(alpha=0.7, beta=0.3, gamma=1.5, gamma_on="mean"),
            smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, gamma=1.5),
        ),
        Pair("Dice, peer: smp", DiceLoss(), dice),
        Pair("IoU, peer: smp", IoULoss(), smp.JaccardLoss("multiclass")),
        Pair("focal, peer: smp's FocalLoss (one against the rest)", focal, smp.FocalLoss("multiclass"), same=False),
        Pair("focal, peer: smp's softmax focal loss", focal, softmax_focal_loss_with_logits),
        Pair("cross entropy, peer: torch", CrossEntropyLoss(), F.cross_entropy),
        Pair(
            "cross entropy + Dice, peer: torch + smp",
            compound,
            lambda logits, target: 0.5 * F.cross_entropy(logits, target) + 0.5 * dice(logits, target),
        ),
    ]


def make_batch(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits of a network that is halfway there, and a target of patches that has every class."""
    generator = torch.Generator().manual_seed(0)
    n, classes, height, width = SHAPE
    patches = torch.randint(0, classes, (n, height // 16, width // 16), generator=generator)
    target_NHW = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)
    truth_NCHW = F.one_hot(target_NHW, classes).permute(0, 3, 1, 2)
    logits_NCHW = 2 * torch.randn(SHAPE, generator=generator) + 3 * truth_NCHW
    return logits_NCHW.to(device, dtype, memory_format=LAYOUTS[dtype]).requires_grad_(), target_NHW.to(device)


class Call:
    """A loss, forward and backward, on one batch.

    Args:
        loss: What is called.
        logits: A leaf.
        target: Its labels.
    """

    def __init__(self, loss: Loss, logits: Tensor, target: Tensor) -> None:
        self._loss = loss
        self._logits = logits
        self._target = target

    def __call__(self) -> tuple[Tensor, Tensor]:
        """The value, and the gradient in the logits' dtype."""
        self._logits.grad = None
        value = self._loss(self._logits, self._target)
        torch.autograd.backward(value)
        gradient, self._logits.grad = self._logits.grad, None
        assert gradient is not None
        return value.detach(), gradient

    def seconds(self) -> float:
        """Time it."""
        synchronise(self._logits.device)
        began = time.perf_counter()
        self()
        synchronise(self._logits.device)
        return time.perf_counter() - began

    def peak_mb(self) -> float:
        """The most that it had allocated at once, in MiB."""
        if self._logits.device.type == "cuda":
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self()
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler reports itself on the terminal
        with torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as profile:
            self()
        events = [event for event in profile.kineto_results.events() if event.name() == "[memory]"]
        allocated = peak = 0
        for event in sorted(events, key=lambda event: event.start_ns()):
            allocated += event.nbytes()
            peak = max(peak, allocated)
        return peak / 2**20


def check_same(pair: Pair, logits: Tensor, target: Tensor) -> None:
    """Refuse to compare what does not compute the same.

    Raises:
        RuntimeError: Ours or the peer differs from the peer in float64.
    """
    exact = Call(pair.peer, logits.detach().double().requires_grad_(), target)()
    rounding = max(1e-5, torch.finfo(logits.dtype).eps)  # of a gradient in the logits' dtype
    for whose, loss, of_value, of_gradient in (
        ("ours", pair.ours, 1e-5, rounding),
        ("the peer", in_float32(pair.peer), 1e-2, max(1e-2, rounding)),
    ):
        value, gradient = Call(loss, logits, target)()
        by_value = ((value - exact[0]).abs() / exact[0]).item()
        by_gradient = ((gradient - exact[1]).abs().max() / exact[1].abs().max()).item()
        print(f"{pair.name}, {logits.dtype}: {whose} is off by {by_value:.1g}, its gradient by {by_gradient:.1g}")
        if not (by_value <= of_value and by_gradient <= of_gradient):
            raise RuntimeError(f"{pair.name}: {whose} must be within {of_value:g}, its gradient {of_gradient:g}")


def in_float32(loss: Loss) -> Loss:
    """What a user of the peer writes under autocast."""
    return lambda logits, target: loss(logits.float(), target)


def compare(number: int, dtype: torch.dtype, device: torch.device, sides: Sides, runs: int) -> list[Row]:
    """Median seconds in turns, and peak memory."""
    pair = pairs()[number]
    if pair.same:
        check_same(pair, *make_batch(dtype, device))
    of_sides = [(process, (whose, number, dtype, device)) for whose, process in sides._asdict().items()]
    times: list[list[float]] = [[], []]
    for _ in range(runs):
        for (process, call), seconds in zip(of_sides, times, strict=True):
            seconds.append(process.submit(seconds_of, *call).result())
    peaks = [process.submit(peak_of, *call).result() for process, call in of_sides]
    case = f"{pair.name}, {name_of(dtype)}"
    return [
        lower_is_better(f"{case}, s", statistics.median(times[0]), statistics.median(times[1])),
        lower_is_better(f"{case}, peak extra MiB", *peaks),
    ]


def seconds_of(whose: str, number: int, dtype: torch.dtype, device: torch.device) -> float:
    """In the process of a side: median of three calls, after one that wakes its threads up."""
    call = call_of(whose, number, dtype, device)
    call()
    return statistics.median([call.seconds() for _ in range(3)])


def peak_of(whose: str, number: int, dtype: torch.dtype, device: torch.device) -> float:
    """In the process of a side."""
    return call_of(whose, number, dtype, device).peak_mb()


@functools.lru_cache(1)
def call_of(whose: str, number: int, dtype: torch.dtype, device: torch.device) -> Call:
    """The loss of a side, on its batch."""
    pair = pairs()[number]
    return Call(pair.ours if whose == "ours" else in_float32(pair.peer), *make_batch(dtype, device))


def name_of(dtype: torch.dtype) -> str:
    """`float32`."""
    return str(dtype).removeprefix("torch.")


def floor(dtype: torch.dtype, device: torch.device) -> float:
    """Seconds that no loss and its gradient can do without."""
    source = make_batch(dtype, device)[0].detach()
    copy = torch.empty_like(source)
    moving = best_seconds(lambda: copy.copy_(source), device) * PASSES_OVER_MEMORY / 2
    block = torch.randn(2**17 if device.type == "cpu" else 2**24, device=device)
    exponential = torch.empty_like(block)
    one_each = best_seconds(lambda: torch.exp2(block, out=exponential), device) * source.numel() / block.numel()
    print(f"floor, {dtype}: {moving:.2g} s to move the bytes, {one_each * EXPONENTIALS:.2g} s for the exponentials")
    return max(moving, one_each * EXPONENTIALS)


def best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The least of many runs: a floor is not a median."""
    taken = []
    for _ in range(50):
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    """Compare all losses in both dtypes and publish the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=11, help="of each loss")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    share = ResourceShare(cpus=options.threads, gpus=float(options.device == "cuda"))
    rows: list[Row] = []
    with two_sides(share) as sides:
        for dtype in LAYOUTS:
            numbers = range(len(pairs()))
            of_dtype = [row for number in numbers for row in compare(number, dtype, device, sides, options.runs)]
            least = sides.ours.submit(floor, dtype, device).result()
            rows += [
                *of_dtype,
                lower_is_better(f"Tversky, peer: the floor, {name_of(dtype)}, s", of_dtype[0].ours, least),
            ]
    publish("losses", rows, options.json)


if __name__ == "__main__":
    main()
