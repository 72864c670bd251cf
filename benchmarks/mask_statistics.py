"""Statistics of all masks of an image set, beside the seed study's loop over one-hot masks, in one run.

Both read the same PNG files: pixels and images of each class, and how often each class covers each position. The loop
is `one_hot` and sums by class, mask by mask, as the study did it; ours counts positions of thing classes alone, which
is all that is drawn. Seconds a mask are extrapolated to the 3,269 masks of AeroScapes.

    python -m benchmarks.mask_statistics --json benchmarks/results/mask_statistics.json
"""

import argparse
import functools
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from analysis.mask_statistics import count_cached_masks, count_masks
from benchmarks.result import Row, lower_is_better, publish
from trainable.aeroscapes import read_aeroscapes
from trainable.image_cache import open_cache
from trainable.image_set import ImageSet
from trainable.synthetic import synthesize

SIZE = (720, 1280)
ALL_MASKS = 3269


def main() -> None:
    """Time both and publish seconds for all masks, and the memory that ours took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", type=int, default=120, help="masks that ours counts")
    parser.add_argument("--peer-images", type=int, default=40, help="masks that the loop counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mask-statistics-") as name:
        # Drawn by other processes, whose memory is not counted.
        synthesize(Path(name) / "set", options.images, SIZE, seed=0, jobs=2)
        rows = compare(read_aeroscapes(Path(name) / "set"), Path(name) / "cache", options.peer_images)
    publish("mask_statistics", rows, options.json)


def compare(image_set: ImageSet, cache_dir: Path, peer_images: int) -> list[Row]:
    """Ours first, so that its peak of memory is its own."""
    before = peak_mebibytes()
    files = seconds_for_all(functools.partial(count_masks, image_set), len(image_set))
    memory = peak_mebibytes()
    print(f"peak memory {memory:.0f} MiB with ours, {before:.0f} MiB before it, of imports")
    peer = seconds_for_all(functools.partial(sum_one_hot, image_set, peer_images), min(peer_images, len(image_set)))
    peer_memory = peak_mebibytes()
    cache = open_cache(image_set, cache_dir)
    cached = seconds_for_all(functools.partial(count_cached_masks, image_set, cache), len(image_set))
    return [
        lower_is_better(f"{ALL_MASKS} masks of 720x1280 from PNG, peer: one-hot loop, s", files, peer),
        lower_is_better(f"{ALL_MASKS} masks of 720x1280 from a cache, peer: one-hot loop on PNG, s", cached, peer),
        lower_is_better("peak memory of the process, peer: after the loop as well, MiB", memory, peer_memory),
    ]


def seconds_for_all(work: Callable[[], object], masks: int) -> float:
    """Seconds that it takes, extrapolated to `ALL_MASKS`."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * ALL_MASKS / masks


def sum_one_hot(image_set: ImageSet, images: int) -> None:
    """The seed study's loop."""
    classes = len(image_set.classes)
    with Image.open(image_set.samples[0].mask) as first:
        positions = np.zeros((first.height, first.width, classes))
    in_images, pixels = np.zeros(classes, dtype=int), np.zeros(classes)
    for sample in image_set.samples[:images]:
        with Image.open(sample.mask) as mask:
            y = torch.Tensor(np.array(mask)[None]).long()
        frq = torch.nn.functional.one_hot(y, num_classes=classes)
        frq = torch.sum(frq, dim=0)
        for label in range(classes):
            s = torch.sum(frq[:, :, label]).numpy()
            if s > 0:
                in_images[label] += 1
                pixels[label] += s
        positions += frq.numpy()


def peak_mebibytes() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
