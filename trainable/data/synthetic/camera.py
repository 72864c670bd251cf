"""The camera of a synthetic scene: which part of the ground each frame shows, and how."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainable.data.synthetic.scene_plan import ScenePlan

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Frame:
    """What the camera sees in one frame.

    Attributes:
        ground: Index into the flattened ground of each pixel, (height, width).
        sky: True where the pixel is sky, (height, width).
        haze: How much the pixel is veiled by distance, 0-1, (height, 1).
        camera: Row and column of the ground at the frame's top left corner, where the camera looks down.
        horizon: Row that the sky ends at; 0 where there is none.
    """

    ground: Indices
    sky: NDArray[np.bool_]
    haze: Floats
    camera: Floats
    horizon: float


def ground_shape(size: tuple[int, int]) -> tuple[int, int]:
    """Say how large the ground is: larger than a frame, so that the camera can move.

    Args:
        size: Height and width of a frame.

    Returns:
        Height and width of the ground.
    """
    return size[0] * 3 // 2, size[1] * 3 // 2


def fly(random: np.random.Generator, plan: ScenePlan, size: tuple[int, int]) -> list[Frame]:
    """Move the camera slowly over the ground in a straight line; where a scene has sky, it looks ahead.

    Args:
        random: The scene's.
        plan: With the share of sky in each frame.
        size: Height and width of a frame.

    Returns:
        What it sees, frame by frame.
    """
    height, width = size
    canvas = ground_shape(size)
    room = np.array(canvas) - size
    start, end = room * random.uniform(0, 1, 2), room * random.uniform(0, 1, 2)
    progress = np.linspace(0, min(1, plan.frames / 40), plan.frames)[:, None]
    offsets = np.round(start + (end - start) * progress).astype(np.intp)
    skyline = smooth_noise(random, (4, width), width / 6)[0] * 0.02 * height
    oblique = bool(plan.sky.any())
    frames = []
    for (top, left), sky_share in zip(offsets, plan.sky, strict=True):
        horizon = sky_share * height + (skyline - skyline.mean() if sky_share else -height * 0.15)
        sky = np.arange(height)[:, None] < np.broadcast_to(horizon, width)
        rows, columns, haze = _look_ahead(size, sky_share) if oblique else _look_down(size)
        index = _mirror(rows + top, canvas[0]) * canvas[1] + _mirror(columns + left, canvas[1])
        frames.append(Frame(index, sky, haze, np.array([top, left], dtype=np.float64), float(sky_share * height)))
    return frames


def _look_down(size: tuple[int, int]) -> tuple[Indices, Indices, Floats]:
    rows, columns = np.indices(size)
    return rows, columns, np.zeros((size[0], 1))


def _look_ahead(size: tuple[int, int], sky_share: float) -> tuple[Indices, Indices, Floats]:
    """Rows and columns of the ground in perspective: what is nearer to the horizon is farther and smaller."""
    height, width = size
    horizon = sky_share * height if sky_share else -0.15 * height
    below = np.maximum(np.arange(height) - horizon, 0)[:, None] + 0.35 * height
    distance = (height - horizon + 0.35 * height) / below  # 1 at the bottom of the frame
    rows = np.broadcast_to(height - (distance - 1) * 0.6 * height, size)
    columns = width / 2 + (np.arange(width) - width / 2) * distance
    haze = np.clip((distance - 1) / 5, 0, 0.4)
    return np.round(rows).astype(np.intp), np.round(columns).astype(np.intp), haze


def _mirror(index: Indices, length: int) -> Indices:
    """Continue beyond the edges with the mirror image."""
    folded = index % (2 * length)
    return np.where(folded < length, folded, 2 * length - 1 - folded)


def smooth_noise(random: np.random.Generator, shape: tuple[int, int], cell: float) -> Floats:
    """Draw smooth noise of about unit variance.

    Args:
        random: What to draw from.
        shape: Height and width.
        cell: How many pixels wide its features are.

    Returns:
        An array of that shape.
    """
    coarse = random.normal(0, 1.4, tuple(max(4, int(side / max(cell, 1)) + 3) for side in shape)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float64)
