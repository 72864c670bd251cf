"""What a network predicts on a view of images, and on one whole image, at native resolution."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from trainable.batches.crops import cut
from trainable.batches.normalise import normalise
from trainable.data.image_cache import ImageCache
from trainable.device import Compute
from trainable.measure.argmax_labels import argmax_labels
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.tiles import Tile

_STRIDE: Final = 32
"""The networks want sides that are multiples of their encoder's stride."""


def padded(height: int, width: int) -> tuple[int, int]:
    """Height and width of a view as the network sees it."""
    return height + -height % _STRIDE, width + -width % _STRIDE


def tile_logits(
    model: nn.Module, cache: ImageCache, indices: Sequence[int], tile: Tile, compute: Compute
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the network once.

    Args:
        model: Maps images to logits_NCHW; on the device.
        cache: The decoded images.
        indices: The images of the view, as indices into the cache.
        tile: What the network sees of them.
        compute: Device and precision.

    Returns:
        Logits (N, C, H, W), float32, and target (N, H, W), uint8, of the scored part of the view, on the device.
    """
    images, masks = zip(*(cut(cache, index, tile.window) for index in indices), strict=True)
    target = torch.from_numpy(np.stack(masks)).to(compute.device, non_blocking=True)
    images_NCHW = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    pixels = normalise(images_NCHW, compute.device)
    window = tile.window
    height, width = padded(window.height, window.width)
    with compute.autocast():
        logits = model(F.pad(pixels, (0, width - window.width, 0, height - window.height)))
    rows, columns = tile.keep
    # Class by class in memory, as all that looks at them wants them: whoever does not find them so copies them again.
    scored = logits[:, :, rows, columns].to(torch.float32, memory_format=torch.contiguous_format)
    return scored, target[:, rows, columns]


@torch.no_grad()
def predict_labels(
    model: nn.Module,
    cache: ImageCache,
    indices: Sequence[int],
    position: int,
    compute: Compute,
    fitted: FittedTiles | None = None,
) -> NDArray[np.uint8]:
    """Label one image of a split, in the very passes that `trainable.measure.evaluation.evaluate` makes of that split.

    Small images go through the network together, and how many there are can change a logit's last bits: on the same
    hardware the labels are so exactly those that were counted, where memory had and has room for the same passes.

    Args:
        model: Maps images to logits_NCHW; on the device; set to evaluation mode here and left so.
        cache: The decoded images.
        indices: The split.
        position: Which image of the split.
        compute: Device and precision.
        fitted: In how large passes; what it learns about memory it keeps.

    Returns:
        Labels of the whole image, uint8 (H, W).

    Raises:
        InputError: Memory ran out on the smallest pass that is tried.
    """
    model.eval()
    return (fitted or FittedTiles()).cover(
        cache.shapes[list(indices)],
        compute.device,
        lambda passes: _label(model, cache, indices, position, compute, passes),
    )


def _label(
    model: nn.Module,
    cache: ImageCache,
    indices: Sequence[int],
    position: int,
    compute: Compute,
    passes: Iterator[Tile],
) -> NDArray[np.uint8]:
    labels_HW = np.empty(cache.shapes[indices[position]], dtype=np.uint8)
    for tile in passes:
        if position not in tile.positions:
            continue
        logits, _ = tile_logits(model, cache, [indices[other] for other in tile.positions], tile, compute)
        scored = argmax_labels(logits)[tile.positions.index(position)].cpu().numpy()
        top, left = tile.window.top + tile.keep[0].start, tile.window.left + tile.keep[1].start
        labels_HW[top : top + scored.shape[0], left : left + scored.shape[1]] = scored
    return labels_HW
