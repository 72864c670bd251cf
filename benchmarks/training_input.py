"""Training input: crops of 512x512 out of 1280x720 JPEGs and their masks, as float32 on the device.

The peers decode an image each time it is shown, in a process that is set up by nobody; ours is set up as a trial's:

- the seed study's pipeline: Pillow, flip, ToTensor, Normalize, image by image. It took no crops; the same crop as ours
  is taken right after decoding, where it saves most, and in a second row after Normalize;
- a plain torchvision DataLoader: `torchvision.io` decodes, v2 transforms, without and with two worker processes.

Ours decodes each image once, into the cache, and that time is shared out over the 30 epochs of a default trial. All
take crops, flip half of them and normalise; given the same windows and flips ours and the seed's are checked to be the
same numbers. Crops of our default (scale and colours too) are compared with torchvision's functions behind Pillow's
decoder, checked likewise.

The last row is of training steps: the share of an epoch in which the loop waits for a batch.

    python -m benchmarks.training_input --json benchmarks/results/training_input.json
"""

import argparse
import functools
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import io, transforms, tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as F

from benchmarks.result import Row, lower_is_better, publish
from benchmarks.sides import Sides, two_sides
from benchmarks.synchronise import synchronise
from trainable.batches.batch_feed import Each
from trainable.batches.crops import CropPlan, CropSampler
from trainable.batches.normalise import normalise
from trainable.config.sections import DataConfig, ModelConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_cache import open_cache
from trainable.data.image_set import ImageSet
from trainable.data.read_image_set import read_image_set
from trainable.data.synthetic.synthesize import synthesize
from trainable.data.trial_data import open_trial_data
from trainable.device import Compute, ResourceShare, choose_compute
from trainable.training import Training
from trainable.trial_config import TrialConfig

SIZE: Final = (720, 1280)
SIDE: Final = 512
BATCH: Final = 8
EPOCHS: Final = 30
OURS: Final = ("ours", "ours, default", "drawn", "drawn side by side", "copy")
PEERS: Final = ("crop first", "crop last", "distorted", "loader")
WITH_WORKERS: Final = "loader, 2 workers"
MEAN: Final = (0.485, 0.456, 0.406)
STD: Final = (0.229, 0.224, 0.225)
FLIPPED: Final = DataConfig(batch_size=BATCH, crop=f"{SIDE}x{SIDE}", scale_min=1, scale_max=1, color_jitter=0)
DEFAULT: Final = DataConfig(batch_size=BATCH, crop=f"{SIDE}x{SIDE}")
MODEL: Final = ModelConfig(architecture="deeplabv3plus", encoder="tu-tf_mobilenetv3_small_100", encoder_weights="none")

Pair = tuple[Tensor, Tensor]
"""Pixels float32 and labels int64: of an image CHW and HW, of a batch NCHW and NHW."""


def main() -> None:
    """Check that all give the same, time them in turns, and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9, help="every pipeline takes its turn in each")
    parser.add_argument("--threads", type=int, default=1, help="of torch's maths; a trial on a CPU has one")
    options = parser.parse_args()
    share = ResourceShare(cpus=options.threads, gpus=float(options.device == "cuda"))
    with tempfile.TemporaryDirectory(prefix="training-input-") as name, two_sides(share) as sides:
        synthesize(Path(name) / "set", options.images, SIZE, seed=0, jobs=2)
        case = Case(Path(name), choose_compute("auto", share))
        build = sides.ours.submit(build_cache, case).result()
        rows = compare(case, build, sides, options.rounds)
        rows.append(compare_steps(case, sides, rows[0]))
    publish("training_input", rows, options.json)


@dataclass(frozen=True)
class Case:
    """What all pipelines read.

    Attributes:
        folder: With the files, and the cache of decoded images.
        compute: Where the batches go.
    """

    folder: Path
    compute: Compute

    @property
    def dataset(self) -> DatasetConfig:
        """The images."""
        return DatasetConfig(layout="aeroscapes", root=self.folder / "set")

    @property
    def cache_dir(self) -> Path:
        """Of the decoded images."""
        return self.folder / "cache"


def build_cache(case: Case) -> float:
    """Decode all, in our process; seconds an image."""
    image_set = read_image_set(case.dataset, case.cache_dir)
    began = time.perf_counter()
    open_cache(image_set, case.cache_dir)
    return (time.perf_counter() - began) / len(image_set)


def compare(case: Case, build: float, sides: Sides, rounds: int) -> list[Row]:
    """Seconds an image, all pipelines in turns."""
    sides.ours.submit(check_all_same, case).result()
    processes = {name: sides.ours if name in OURS else sides.peer for name in (*OURS, *PEERS)}
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    for number in range(rounds + 1):
        for name, process in processes.items():
            taken = process.submit(seconds_of_turn, case, name, 8 if name in OURS else 2).result()
            if number > 0:
                seconds[name].append(taken)
    median = {name: statistics.median(of_rounds) for name, of_rounds in seconds.items()}
    # Alone, since the workers work ahead in the turns of others.
    sides.peer.submit(seconds_of_turn, case, WITH_WORKERS, 8).result()
    median[WITH_WORKERS] = sides.peer.submit(seconds_of_turn, case, WITH_WORKERS, 40).result()
    print_floor(median, build)
    share = build / EPOCHS
    name = f"crop of {SIDE}x{SIDE} from 1280x720 JPEG, s an image"
    mine, mine_default = median["ours"] + share, median["ours, default"] + share
    return [
        lower_is_better(f"{name}; peer: the seed's pipeline, cropped after decoding", mine, median["crop first"]),
        lower_is_better(f"{name}; peer: the seed's pipeline, cropped at its end", mine, median["crop last"]),
        lower_is_better(f"{name}; peer: torchvision's DataLoader", mine, median["loader"]),
        lower_is_better(f"{name}; peer: the same with 2 workers", mine, median[WITH_WORKERS]),
        lower_is_better(
            "the same scaled and coloured; peer: torchvision's functions", mine_default, median["distorted"]
        ),
        lower_is_better(
            "such a crop drawn by two threads, as for a GPU; peer: by one, s",
            median["drawn side by side"],
            median["drawn"],
        ),
    ]


def seconds_of_turn(case: Case, name: str, batches: int) -> float:
    """Seconds that the next batches of a pipeline take, each image; in the process of its side."""
    began = time.perf_counter()
    for _ in itertools.islice(pipeline_of(case, name), batches):
        pass
    synchronise(case.compute.device)
    return (time.perf_counter() - began) / (batches * BATCH)


@functools.cache
def pipeline_of(case: Case, name: str) -> Iterator[Pair]:
    """Batches for ever."""
    image_set, flipped, default = samplers_of(case)
    of_seed = functools.partial(decode_anew, image_set, case.compute)
    makers: dict[str, Callable[[], Iterator[Pair]]] = {
        "ours": lambda: ours(flipped, case.compute),
        "ours, default": lambda: ours(default, case.compute),
        "drawn": lambda: drawn(default),
        "drawn side by side": lambda: drawn(default, by_two_threads().map),
        "copy": lambda: copies(flipped, case.compute),
        "crop first": lambda: of_seed(seed_item, flipped),
        "crop last": lambda: of_seed(seed_item_cropped_last, flipped),
        "distorted": lambda: of_seed(distorted_item, default),
        "loader": lambda: loader(image_set, case.compute, workers=0),
        WITH_WORKERS: lambda: loader(image_set, case.compute, workers=2),
    }
    return makers[name]()


@functools.cache
def samplers_of(case: Case) -> tuple[ImageSet, CropSampler, CropSampler]:
    """The images, their crops flipped alone, and those of our default."""
    image_set = read_image_set(case.dataset, case.cache_dir)
    cache, pinned = open_cache(image_set, case.cache_dir), pinned_for(case.compute)
    flipped, default = (CropSampler(cache, range(len(image_set)), config, 0, pinned) for config in (FLIPPED, DEFAULT))
    return image_set, flipped, default


def check_all_same(case: Case) -> None:
    """Raise unless all pipelines give the same."""
    image_set, flipped, default = samplers_of(case)
    for position in range(2 * BATCH):
        check_same(flipped, default, image_set, position, case.compute)
    check_decoders(image_set)


def print_floor(median: dict[str, float], build: float) -> None:
    """What is known beside the rows."""
    share = build / EPOCHS
    print(f"ours, ms an image: {1e3 * median['ours']:.3f}, and {1e3 * share:.3f} for the cache over {EPOCHS} epochs")
    print(f"ours, images/s: {1 / (median['ours'] + share):.0f}; seed's: {1 / median['crop first']:.0f}")
    print(f"floor: a batch's bytes read as uint8 and written as float32, ms an image: {1e3 * median['copy']:.3f}")


def pinned_for(compute: Compute) -> bool:
    """As `Training` asks for it."""
    return compute.device.type == "cuda"


def by_two_threads() -> ThreadPoolExecutor:
    """As `BatchFeed` has crops made for a GPU."""
    return ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))


def drawn(sampler: CropSampler, each: Each = map) -> Iterator[Pair]:
    """As the training loop has them before they go to the device: pixels and labels are bytes."""
    for epoch in itertools.count(1):
        for step in range(sampler.steps):
            yield sampler.batch(epoch, step, each)


def ours(sampler: CropSampler, compute: Compute) -> Iterator[Pair]:
    """As the training loop makes them, when it wants them."""
    for images_NCHW, target_NHW in drawn(sampler):
        yield normalise(images_NCHW, compute.device), target_NHW.to(compute.device, non_blocking=True).long()


def copies(sampler: CropSampler, compute: Compute) -> Iterator[Pair]:
    """The same bytes read and written, and nothing computed."""
    images_NCHW, target_NHW = sampler.batch(1, 0)
    while True:
        moved, labels = images_NCHW.to(compute.device), target_NHW.to(compute.device)
        yield moved.to(torch.float32), labels.long()


Item = Callable[[ImageSet, CropPlan], Pair]


def decode_anew(image_set: ImageSet, compute: Compute, item: Item, sampler: CropSampler) -> Iterator[Pair]:
    """Batches of what a pipeline makes of the plans of our own batches."""
    positions = itertools.count()
    while True:
        plans = [sampler.plan(1, next(positions)) for _ in range(BATCH)]
        images, targets = zip(*(item(image_set, plan) for plan in plans), strict=True)
        yield torch.stack(images).to(compute.device), torch.stack(targets).to(compute.device)


to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def seed_item(image_set: ImageSet, plan: CropPlan) -> Pair:
    """The seed study's pipeline, of the crop alone."""
    image, mask = (part.crop(box(plan)) for part in open_pair(image_set, plan.index))
    if is_flipped(plan):
        image, mask = transforms.functional.hflip(image), transforms.functional.hflip(mask)
    return to_tensor(image), torch.from_numpy(np.array(mask)).long()


def seed_item_cropped_last(image_set: ImageSet, plan: CropPlan) -> Pair:
    """The seed study's pipeline as it was, and then the crop."""
    image, mask = open_pair(image_set, plan.index)
    left, top, right, bottom = box(plan)
    if is_flipped(plan):
        image, mask = transforms.functional.hflip(image), transforms.functional.hflip(mask)
        left, right = image.width - right, image.width - left
    labels_HW = torch.from_numpy(np.array(mask)).long()
    return to_tensor(image)[:, top:bottom, left:right], labels_HW[top:bottom, left:right]


def distorted_item(image_set: ImageSet, plan: CropPlan) -> Pair:
    """Our default's distortion by torchvision's functions."""
    image, mask = (F.pil_to_tensor(part) for part in open_pair(image_set, plan.index))
    window = (plan.window.top, plan.window.left, plan.window.height, plan.window.width)
    image = F.resize(F.crop(image, *window), [SIDE, SIDE], antialias=True)
    mask = F.resize(F.crop(mask, *window), [SIDE, SIDE], InterpolationMode.NEAREST_EXACT)
    if is_flipped(plan):
        image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
    brightness, contrast, saturation = (1 + DEFAULT.color_jitter * (2 * n - 1) for n in plan.numbers["color_jitter"])
    image = F.adjust_brightness(image, brightness)
    image = F.adjust_contrast(image, contrast)
    image = F.adjust_saturation(image, saturation)
    return F.normalize(F.to_dtype(image, torch.float32, scale=True), MEAN, STD), mask[0].long()


def open_pair(image_set: ImageSet, index: int) -> tuple[Image.Image, Image.Image]:
    """Image and mask by Pillow."""
    sample = image_set.samples[index]
    return Image.open(sample.image).convert("RGB"), Image.open(sample.mask)


def is_flipped(plan: CropPlan) -> bool:
    """Whether a plan flips left to right."""
    return plan.numbers["horizontal_flip"][0] < 0.5


def box(plan: CropPlan) -> tuple[int, int, int, int]:
    """The window as Pillow has it."""
    window = plan.window
    return window.left, window.top, window.left + window.width, window.top + window.height


class Decoded(Dataset[Pair]):
    """Decoded and transformed as torchvision's documentation has it."""

    def __init__(self, image_set: ImageSet) -> None:
        self._samples = image_set.samples
        self._transform = v2.Compose(
            [
                v2.RandomCrop((SIDE, SIDE)),
                v2.RandomHorizontalFlip(),
                v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Pair:
        sample = self._samples[index]
        image = tv_tensors.Image(io.decode_image(io.read_file(str(sample.image)), io.ImageReadMode.RGB))
        mask = tv_tensors.Mask(io.decode_image(io.read_file(str(sample.mask)), io.ImageReadMode.UNCHANGED)[0])
        pixels, labels = self._transform(image, mask)
        return pixels, labels


def loader(image_set: ImageSet, compute: Compute, workers: int) -> Iterator[Pair]:
    """Shuffled batches for ever."""
    batches: DataLoader[Any] = DataLoader(
        Decoded(image_set),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned_for(compute),
    )
    while True:
        for images, targets in batches:
            yield images.to(compute.device, non_blocking=True), targets.to(compute.device, non_blocking=True)


def check_same(
    flipped: CropSampler, default: CropSampler, image_set: ImageSet, position: int, compute: Compute
) -> None:
    """Raise unless the pipelines make of our plans what we make of them."""
    for sampler, items in ((flipped, (seed_item, seed_item_cropped_last)), (default, (distorted_item,))):
        images_NCHW, target_NHW = sampler.batch(1, position // BATCH)
        pixels_NCHW = normalise(images_NCHW, compute.device).cpu()
        plan = sampler.plan(1, position)
        for item in items:
            image_CHW, target_HW = item(image_set, plan)
            torch.testing.assert_close(pixels_NCHW[position % BATCH], image_CHW, rtol=0, atol=1e-6)
            torch.testing.assert_close(target_NHW[position % BATCH].long(), target_HW, rtol=0, atol=0)


def check_decoders(image_set: ImageSet) -> None:
    """Raise unless torchvision decodes what Pillow decodes, up to the rounding of another libjpeg."""
    sample = image_set.samples[0]
    torch.testing.assert_close(
        io.decode_image(io.read_file(str(sample.image))).int(),
        F.pil_to_tensor(Image.open(sample.image)).int(),
        rtol=0,
        atol=3,
    )


def compare_steps(case: Case, sides: Sides, row: Row) -> Row:
    """The share of an epoch in which the loop waits; the peer's is what its input would take of the same steps."""
    waited, step = sides.ours.submit(train_epochs, case).result()
    drawn = BATCH * row.peer
    print(f"a step of {BATCH} crops: {step:.3f} s, of which {1e3 * waited * step:.2f} ms waited for data")
    peer = drawn / (drawn + (1 - waited) * step)
    return lower_is_better("share of a training step that waits for data; peer: the seed's pipeline", waited, peer)


def train_epochs(case: Case) -> tuple[float, float]:
    """Train two epochs in our process; of the second, the share of waiting and the seconds of a step."""
    config = TrialConfig(dataset=case.dataset, model=MODEL, data=DEFAULT)
    training = Training(config, open_trial_data(case.dataset, case.cache_dir), case.compute)
    training.run_epoch(1, lambda: False)
    metrics = training.run_epoch(2, lambda: False).metrics
    return metrics["data_wait"], BATCH / metrics["images_per_second"]


if __name__ == "__main__":
    main()
