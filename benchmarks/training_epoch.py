"""A training epoch, beside a plain segmentation_models_pytorch + torch loop as that library's examples write it.

Both train the same network from the same seed on the same crops of the same JPEG and PNG files, on the same number of
threads, each in a process of its own, epoch by epoch in turn. The plain loop decodes, crops, flips and normalises in a
`DataLoader`, computes in float32, takes the library's Dice loss and `torch.optim.AdamW`, and asks for the loss's value
in every step. Ours is an epoch of `Training` in a process that is set up as a trial's, as `runtime.precision: auto`
runs it; the cache of decoded images exists already, and the evaluation is timed apart.

Before that both train from the same weights: in float32 the losses must be the same but for rounding, and in the
automatic precision near them. With `--quality` nothing is timed: over three seeds both train on made data, and our mean
mIoU on dev must be no worse than the plain loop's (some minutes).

    python -m benchmarks.training_epoch --json benchmarks/results/training_epoch.json
"""

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data import Sampler as TorchSampler
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import functional as F

from benchmarks.result import Row, lower_is_better, publish
from benchmarks.sides import Sides, two_sides
from benchmarks.synchronise import synchronise
from trainable.batches.crops import CropSampler
from trainable.config.loss_config import LossConfig
from trainable.config.sections import DataConfig, ModelConfig, OptimizerConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_set import Sample
from trainable.data.trial_data import TrialData, open_trial_data
from trainable.device import Compute, ResourceShare, choose_compute, limit_process
from trainable.measure.confusion import class_metrics
from trainable.measure.evaluation import Scoring, evaluate
from trainable.network.model import build_model
from trainable.record.metric_names import IMAGES_PER_SECOND, MIOU, TRAIN_LOSS
from trainable.schedule import learning_rate_factor
from trainable.training import Training
from trainable.trial_config import TrialConfig

SMALL: Final = ModelConfig(architecture="deeplabv3plus", encoder="tu-tf_mobilenetv3_small_100", encoder_weights="none")
UNET: Final = ModelConfig(architecture="unet", encoder="resnet18", encoder_weights="none")
DEFAULT: Final = ModelConfig(encoder_weights="none")
CASES: Final = ((DEFAULT, "512x512"), (UNET, "192x192"), (SMALL, "192x192"))

IMAGES: Final = DatasetConfig(layout="synthetic", images=40, size="720x1280")

BATCH: Final = 8
STEPS: Final = 2
"""Of an epoch."""
CURVE: Final = 18
"""Epochs of the losses that are compared."""
SAME_AT_FIRST: Final = 1e-4
"""Relative difference that rounding may make in the mean loss of the first epoch, in float32."""
SAME_IN_FP32: Final = 0.01
"""The same in any epoch: training makes small differences grow."""
NEAR_IN_AUTO: Final = 0.02
"""The same in the automatic precision."""

MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """The crops that a sampler plans, of images that are decoded each time, as a plain loop has them.

    Args:
        samples: All of the image set.
        sampler: Decides what is cropped; its images must not change in scale or colour.
    """

    def __init__(self, samples: Sequence[Sample], sampler: CropSampler) -> None:
        self._samples = samples
        self._sampler = sampler

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The image (3, height, width), normalised, and its labels (height, width), of an epoch and a position."""
        plan = self._sampler.plan(*place)
        sample, window = self._samples[plan.index], plan.window
        box = (window.left, window.top, window.left + window.width, window.top + window.height)
        with Image.open(sample.image) as opened, Image.open(sample.mask) as labels:
            image, mask = opened.convert("RGB").crop(box), labels.crop(box)
        if plan.numbers["horizontal_flip"][0] < 0.5:
            image, mask = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (image, mask))
        pixels = F.normalize(F.to_tensor(image), MEAN, STD)
        return pixels, torch.from_numpy(np.array(mask, dtype=np.int64))


class Places(TorchSampler[tuple[int, int]]):
    """All positions of an epoch, then of the next."""

    def __init__(self, crops: int) -> None:
        self._crops = crops
        self._epoch = 0

    def __len__(self) -> int:
        return self._crops

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self._epoch += 1
        return ((self._epoch, position) for position in range(self._crops))


def make_loader(config: TrialConfig, data: TrialData, workers: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """The batches of epoch after epoch, the same crops as ours."""
    sampler = CropSampler(data.cache, data.splits.train, config.data, config.seed)
    crops = Crops(data.image_set.samples, sampler)
    places = Places(sampler.steps * BATCH)
    return DataLoader(crops, BATCH, sampler=places, num_workers=workers, persistent_workers=workers > 0)


class PlainLoop:
    """A training loop of the kind that the library's examples show.

    Args:
        config: The same as ours.
        classes: Channels of the logits.
        steps: Of an epoch.
        device: Where it computes.
    """

    def __init__(self, config: TrialConfig, classes: int, steps: int, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.model = build_model(config.model, classes).to(device)
        self._criterion = smp.losses.DiceLoss(smp.losses.MULTICLASS_MODE)
        optimizer = config.optimizer
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
        )
        factor = functools.partial(
            learning_rate_factor, warmup_steps=optimizer.warmup_epochs * steps, total_steps=config.max_epochs * steps
        )
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(self._optimizer, factor)
        self._device = device

    def train(self, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Train an epoch, and return the mean of its steps' losses."""
        self.model.train()
        losses = []
        for images, masks in batches:
            images, masks = images.to(self._device), masks.to(self._device)
            self._optimizer.zero_grad()
            loss: Tensor = self._criterion(self.model(images), masks)
            torch.autograd.backward(loss)
            self._optimizer.step()
            self._scheduler.step()
            losses.append(loss.item())
        return statistics.mean(losses)


def make_config(
    data: DatasetConfig, model: ModelConfig, crop: str, epochs: int, seed: int = 0, learning_rate: float = 1e-3
) -> TrialConfig:
    """A trial whose crops `Crops` can make: no change of scale or colour."""
    return TrialConfig(
        dataset=data,
        model=model,
        loss=LossConfig(name="dice"),
        optimizer=OptimizerConfig(learning_rate=learning_rate),
        data=DataConfig(batch_size=BATCH, crop=crop, scale_min=1, scale_max=1, color_jitter=0),
        max_epochs=epochs,
        seed=seed,
    )


def shorten(data: TrialData, train: int, dev: int) -> TrialData:
    """The first images of both splits: an epoch of whole batches, and an evaluation that is short."""
    splits = replace(data.splits, train=data.splits.train[:train], dev=data.splits.dev[:dev])
    return replace(data, splits=splits)


def require_the_same(cache: Path, compute: Compute) -> str:
    """Train a network that draws no random numbers on the same crops in three ways, and compare the losses.

    Returns:
        What was found, in a line.

    Raises:
        RuntimeError: They differ.
    """
    dataset = DatasetConfig(layout="synthetic", images=60, size="128x192")
    data = shorten(open_trial_data(dataset, cache), train=BATCH * STEPS, dev=1)
    config = make_config(dataset, UNET, "96x96", CURVE, learning_rate=3e-4)
    plain = PlainLoop(config, data.num_classes, STEPS, compute.device)
    ours = [Training(config, data, way) for way in (replace(compute, dtype=torch.float32), compute)]
    loader = make_loader(config, data, workers=0)
    rows = []
    for epoch in range(1, CURVE + 1):
        expected = plain.train(loader)
        rows.append([expected, *(training.run_epoch(epoch, _never).metrics[TRAIN_LOSS] for training in ours)])
    expected_E, exact_E, reduced_E = np.array(rows).T
    exact, reduced = (abs(given_E - expected_E) / expected_E for given_E in (exact_E, reduced_E))
    line = (
        f"mean losses of {CURVE} epochs of {STEPS} steps on the same crops, from {expected_E[0]:.3f} to "
        f"{expected_E[-1]:.3f}: in float32 ours differ from the plain loop's by {exact[0]:.1e} in the first and "
        f"{exact.max():.1e} at most, in {_name(compute)} by {reduced[0]:.1e} and {reduced.max():.1e}"
    )
    if exact[0] > SAME_AT_FIRST or exact.max() > SAME_IN_FP32 or reduced.max() > NEAR_IN_AUTO:
        raise RuntimeError(f"{line}; allowed are {SAME_AT_FIRST}, {SAME_IN_FP32} and {NEAR_IN_AUTO}")
    return line


@dataclass(frozen=True)
class Case:
    """What both sides train.

    Attributes:
        number: In `CASES`.
        folder: With the images and their cache.
        compute: Of ours.
        epochs: That will be trained.
        workers: Of the plain loop's `DataLoader`.
    """

    number: int
    folder: Path
    compute: Compute
    epochs: int
    workers: int

    def config(self) -> TrialConfig:
        """The trial."""
        return make_config(IMAGES, *CASES[self.number], self.epochs)

    def data(self) -> TrialData:
        """Its images."""
        return shorten(open_trial_data(IMAGES, self.folder), train=BATCH * STEPS, dev=1)


def compare(case: Case, sides: Sides) -> list[Row]:
    """Time epochs in turn, A B A B; the first of each warms up."""
    times: list[tuple[float, ...]] = []
    for epoch in range(1, case.epochs + 1):
        trained, evaluated = sides.ours.submit(our_epoch, case, epoch).result()
        theirs = sides.peer.submit(plain_epoch, case).result()
        times.append((trained, evaluated, theirs, STEPS * sides.ours.submit(network_seconds, case).result()))
    trained, evaluated, theirs, floor = (statistics.median(column) for column in zip(*times[1:], strict=True))
    model, crop = CASES[case.number]
    name = f"{model.architecture} + {model.encoder}, {STEPS} steps of {BATCH} crops {crop}"
    operations = STEPS * network_of(case).operations()
    print(
        f"{name}: {operations / 1e9:.0f} GFLOP, at {operations / trained / 1e9:.0f} GFLOP/s; "
        f"the evaluation of an image of 720x1280 adds {evaluated:.2f} s",
        flush=True,
    )
    precision = _name(case.compute)
    return [
        lower_is_better(f"training epoch of {name} in {precision}, peer: smp + torch loop in fp32, s", trained, theirs),
        lower_is_better("the same, peer: its floor, the network's forward and backward alone, s", trained, floor),
    ]


def our_epoch(case: Case, epoch: int) -> tuple[float, float]:
    """Train an epoch in our process; seconds of its training and of its evaluation."""
    began = time.perf_counter()
    outcome = training_of(case).run_epoch(epoch, _never)
    trained = BATCH * STEPS / outcome.metrics[IMAGES_PER_SECOND]
    return trained, time.perf_counter() - began - trained


@functools.lru_cache(1)
def training_of(case: Case) -> Training:
    """Ours."""
    return Training(case.config(), case.data(), case.compute)


def network_seconds(case: Case) -> float:
    """The floor, in our process."""
    return network_of(case).seconds()


@functools.lru_cache(1)
def network_of(case: Case) -> "Network":
    """The same network as ours, alone."""
    return Network(case.config(), case.data().num_classes, case.compute)


def plain_epoch(case: Case) -> float:
    """Train an epoch in the peer's process; its seconds."""
    plain, loader = plain_loop_of(case)
    began = time.perf_counter()
    plain.train(loader)
    return time.perf_counter() - began


@functools.lru_cache(1)
def plain_loop_of(case: Case) -> tuple[PlainLoop, DataLoader[tuple[Tensor, Tensor]]]:
    """The peer and its batches."""
    config, data = case.config(), case.data()
    plain = PlainLoop(config, data.num_classes, STEPS, case.compute.device)
    return plain, make_loader(config, data, case.workers)


class Network:
    """A network without data, loss or optimizer: what a step cannot be faster than."""

    def __init__(self, config: TrialConfig, classes: int, compute: Compute) -> None:
        format_ = compute.memory_format
        self._model = build_model(config.model, classes).to(compute.device, memory_format=format_)  # type: ignore[call-overload]
        self._pixels = torch.randn(BATCH, 3, *config.data.crop_size, device=compute.device).to(memory_format=format_)
        self._compute = compute

    def seconds(self) -> float:
        """Time a forward and backward pass."""
        synchronise(self._compute.device)
        began = time.perf_counter()
        with self._compute.autocast():
            logits = self._model(self._pixels)
        torch.autograd.backward(logits, torch.ones_like(logits))
        synchronise(self._compute.device)
        taken = time.perf_counter() - began
        self._model.zero_grad(set_to_none=True)
        return taken

    @torch.no_grad()
    def operations(self) -> int:
        """Count the floating-point operations of a forward and backward pass: those of three forward passes."""
        # The counter takes the gradient of a depthwise layer's weights for that of a full one.
        with FlopCounterMode(display=False) as counter, self._compute.autocast():
            self._model(self._pixels)
        return 3 * int(counter.get_total_flops())


def peak(compute: Compute, dtype: torch.dtype, side: int = 2048) -> float:
    """Floating-point operations a second of a matrix product, the best of some."""
    left, right = (torch.randn(side, side, device=compute.device).to(dtype) for _ in range(2))
    times = []
    for _ in range(10):
        synchronise(compute.device)
        began = time.perf_counter()
        left @ right
        synchronise(compute.device)
        times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times)


def quality(cache: Path, compute: Compute, seeds: int, epochs: int, workers: int) -> Row:
    """Mean mIoU on dev after the last epoch, over seeds.

    Raises:
        RuntimeError: Ours is lower by more than twice the standard error of the seeds' differences.
    """
    dataset = DatasetConfig(layout="synthetic", images=120, size="160x240")
    data = open_trial_data(dataset, cache)
    steps = len(data.splits.train) // BATCH
    data = shorten(data, steps * BATCH, len(data.splits.dev))
    reached: list[tuple[float, float]] = []
    for seed in range(seeds):
        config = make_config(dataset, SMALL, "128x128", epochs, seed)
        plain = PlainLoop(config, data.num_classes, steps, compute.device)
        loader = make_loader(config, data, workers)
        for _ in range(epochs):
            plain.train(loader)
        theirs = _miou(plain, data, compute)
        training = Training(config, data, compute)
        ours = [training.run_epoch(epoch, _never).metrics[MIOU] for epoch in range(1, epochs + 1)][-1]
        print(f"seed {seed}: dev mIoU {ours:.4f}, plain loop {theirs:.4f}", flush=True)
        reached.append((ours, theirs))
    ours_S, theirs_S = np.array(reached).T
    gain = float((ours_S - theirs_S).mean())
    error = float((ours_S - theirs_S).std(ddof=1)) / seeds**0.5
    if gain < -2 * error:
        raise RuntimeError(f"dev mIoU is lower by {-gain:.4f}, of which the seeds explain {error:.4f}")
    case = f"dev mIoU after {epochs} epochs of {steps} steps, {seeds} seeds (difference {gain:+.3f} +- {error:.3f})"
    return Row(case, ours_S.mean(), theirs_S.mean(), ours_S.mean() / theirs_S.mean())


def _miou(plain: PlainLoop, data: TrialData, compute: Compute) -> float:
    scoring = Scoring((), 4, np.zeros(data.num_classes), ())
    exact = replace(compute, dtype=torch.float32)
    criterion = nn.CrossEntropyLoss(ignore_index=255)
    matrix = evaluate(plain.model, criterion, data.cache, data.splits.dev, exact, scoring).matrix
    return class_metrics(matrix).mean_iou


def _never() -> bool:
    return False


def _name(compute: Compute) -> str:
    return str(compute.dtype).removeprefix("torch.")


def main() -> None:
    """Compare the losses, then time both loops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of either loop")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's DataLoader")
    parser.add_argument("--rounds", type=int, default=3, help="epochs of either loop that are timed")
    parser.add_argument("--quality", action="store_true", help="compare dev mIoU over three seeds instead")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12, help="of a training for --quality")
    options = parser.parse_args()
    share = ResourceShare(cpus=options.threads, gpus=float(options.device == "cuda"))
    limit_process(share)
    compute = choose_compute("auto", share)
    with tempfile.TemporaryDirectory(prefix="training-epoch-") as name:
        cache = Path(name)
        if options.quality:
            rows = [quality(cache, compute, options.seeds, options.epochs, options.workers)]
        else:
            rows = speed(cache, share, compute, options)
    publish("training_quality" if options.quality else "training_epoch", rows, options.json)


def speed(cache: Path, share: ResourceShare, compute: Compute, options: argparse.Namespace) -> list[Row]:
    """All cases, after the losses were compared."""
    for dtype in (torch.float32, compute.dtype):
        rate = peak(compute, dtype) / 1e9
        print(f"peak of a matrix product in {dtype}: {rate:.0f} GFLOP/s")
    print(require_the_same(cache, compute), flush=True)
    open_trial_data(IMAGES, cache)
    rows: list[Row] = []
    for number in range(len(CASES)):
        case = Case(number, cache, compute, options.rounds + 1, options.workers)
        with two_sides(share) as sides:
            rows += compare(case, sides)
    return rows


if __name__ == "__main__":
    main()
