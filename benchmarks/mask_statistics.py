"""Statistics of all masks of an image set, beside the seed study's loop over one-hot masks, in one run.

Both read the same PNG files: pixels and images of each class, and how often each class covers each position. The loop
is `one_hot` and sums by class, mask by mask, as the study did it; ours counts positions of thing classes alone, which
is all that is drawn. Both are checked to count the same, and take turns. Seconds a mask are extrapolated to the 3,269
masks of AeroScapes.

    python -m benchmarks.mask_statistics --json benchmarks/results/mask_statistics.json
"""

import argparse
import functools
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from analysis.evidence.mask_statistics import count_cached_masks, count_masks
from benchmarks.result import Row, lower_is_better, publish
from trainable.data.image_cache import ImageCache, open_cache
from trainable.data.image_set import ImageSet
from trainable.data.layouts.aeroscapes import read_aeroscapes
from trainable.data.synthetic.synthesize import synthesize

SIZE = (720, 1280)
ALL_MASKS = 3269


def main() -> None:
    """Time both and publish seconds for all masks, and the memory that ours took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--images", type=int, default=120, help="masks that ours counts")
    parser.add_argument("--peer-images", type=int, default=16, help="masks that the loop counts, each round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mask-statistics-") as name:
        # Drawn by other processes, whose memory is not counted.
        synthesize(Path(name) / "set", options.images, SIZE, seed=0, jobs=2)
        image_set = read_aeroscapes(Path(name) / "set")
        rows = compare(image_set, Path(name) / "cache", options.peer_images, options.rounds)
    publish("mask_statistics", rows, options.json)


def compare(image_set: ImageSet, cache_dir: Path, peer_images: int, rounds: int) -> list[Row]:
    """Ours first, so that its peak of memory is its own."""
    before = peak_mebibytes()
    count_masks(image_set)
    memory = peak_mebibytes()
    print(f"peak memory {memory:.0f} MiB with ours, {before:.0f} MiB before it, of imports")
    few = replace(image_set, samples=image_set.samples[:peer_images])
    cache = open_cache(image_set, cache_dir)
    check_same(few, cache)
    peer_memory = peak_mebibytes()
    times: list[list[float]] = [[], [], []]
    for _ in range(rounds):
        times[0].append(seconds_for_all(functools.partial(count_masks, image_set), len(image_set)))
        times[1].append(seconds_for_all(functools.partial(sum_one_hot, few), len(few)))
        times[2].append(seconds_for_all(functools.partial(count_cached_masks, image_set, cache), len(image_set)))
    files, peer, cached = (statistics.median(of_rounds) for of_rounds in times)
    return [
        lower_is_better(f"{ALL_MASKS} masks of 720x1280 from PNG, peer: one-hot loop, s", files, peer),
        lower_is_better(f"{ALL_MASKS} masks of 720x1280 from a cache, peer: one-hot loop on PNG, s", cached, peer),
        lower_is_better("peak memory of the process, peer: after the loop as well, MiB", memory, peer_memory),
    ]


def check_same(image_set: ImageSet, cache: ImageCache) -> None:
    """Raise unless the loop counts what we count, from files and from the cache (of which the set is the beginning)."""
    expected = sum_one_hot(image_set)
    files = count_masks(image_set)
    np.testing.assert_array_equal(files.pixel_counts.sum(axis=0), expected.pixels)
    np.testing.assert_array_equal((files.pixel_counts > 0).sum(axis=0), expected.in_images)
    np.testing.assert_array_equal(files.presence, expected.positions[..., list(files.thing_labels)].transpose(2, 0, 1))
    np.testing.assert_array_equal(cache.pixel_counts[: len(image_set)], files.pixel_counts)


def seconds_for_all(work: Callable[[], object], masks: int) -> float:
    """Seconds that it takes, extrapolated to `ALL_MASKS`."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * ALL_MASKS / masks


@dataclass(frozen=True, eq=False)
class Sums:
    """What the study's loop counts of each class: images with it, its pixels, and how often it is at each position."""

    in_images: NDArray[np.int64]
    pixels: NDArray[np.float64]
    positions: NDArray[np.float64]


def sum_one_hot(image_set: ImageSet) -> Sums:
    """The seed study's loop."""
    classes = len(image_set.classes)
    with Image.open(image_set.samples[0].mask) as first:
        positions = np.zeros((first.height, first.width, classes))
    in_images, pixels = np.zeros(classes, dtype=np.int64), np.zeros(classes)
    for sample in image_set:
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
    return Sums(in_images, pixels, positions)


def peak_mebibytes() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
