"""What a synthetic image set holds before a pixel is drawn: scenes, frames, and how much of each class where."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.data.layouts.aeroscapes import AEROSCAPES_CLASSES

LABELS: dict[str, int] = {entry.name: label for label, entry in enumerate(AEROSCAPES_CLASSES)}

PIXEL_SHARES: dict[str, float] = {
    "background": 0.231, "person": 0.00405, "bike": 0.00054, "car": 0.00369, "drone": 0.00029, "animal": 0.00084,
    "obstacle": 0.00566, "construction": 0.0444, "plant": 0.371, "road": 0.293, "sky": 0.0458,
}  # fmt: skip
"""Share of AeroScapes' pixels that each class has; boat is left out, so that a class of the set never occurs."""

IMAGE_SHARES: dict[str, float] = {
    "background": 1.0, "person": 0.794, "bike": 0.387, "car": 0.307, "drone": 0.125, "animal": 0.031,
    "obstacle": 0.658, "construction": 0.529, "plant": 0.913, "road": 0.858, "sky": 0.159,
}  # fmt: skip
"""Share of AeroScapes' images that have the class."""

GROUND = ("background", "construction", "plant", "road")
THINGS = ("person", "bike", "car", "drone", "animal", "obstacle")
FEWEST_SCENES, MOST_SCENES = 8, 16
TRAIN_SCENES_OF_A_CLASS = 3  # so that dev can be chosen and two are left to learn from
VAL_SHARE = 0.25  # of the scenes
SCENES_BY_IMAGES = 1.25  # a thing is in a quarter more of the scenes than of the images: it comes and goes


@dataclass(frozen=True)
class ScenePlan:
    """What one scene holds.

    Attributes:
        index: From 0; names the scene and seeds it.
        split: `train` or `val`.
        frames: How many images it has.
        ground: Share of the ground's pixels by class, summing to 1; absent classes are left out.
        sky: Share of each frame that is sky, (frames,).
        things: By class, its pixels in each frame, (frames,); absent classes are left out.
    """

    index: int
    split: str
    frames: int
    ground: dict[str, float]
    sky: NDArray[np.float64]
    things: dict[str, NDArray[np.int64]]


def plan_scenes(
    images: int, size: tuple[int, int], seed: int, scenes: int | None = None, imbalance: float = 1.0
) -> list[ScenePlan]:
    """Divide the classes' shares among scenes and frames.

    Args:
        images: Images of the whole set.
        size: Their height and width.
        seed: Decides which scene has what.
        scenes: How many; None: one for ten images, within bounds.
        imbalance: Things have this many times fewer pixels, and are in as many times fewer images, than in AeroScapes.

    Returns:
        The scenes; train and val both have every class that occurs.
    """
    random = np.random.default_rng([seed, 0])
    count = scenes or int(np.clip(images // 10, FEWEST_SCENES, MOST_SCENES))
    frames = np.array([len(part) for part in np.array_split(np.arange(images), count)])
    val = np.zeros(count, dtype=bool)
    val[random.permutation(count)[: round(VAL_SHARE * count)]] = True
    sky = _plan_sky(random, frames, val)
    sky_of_scene = np.array([shares.mean() for shares in sky])
    ground = _plan_ground(random, frames, val, 1 - sky_of_scene, imbalance)
    things = [_plan_thing(random, name, frames, val, size[0] * size[1] / imbalance, imbalance) for name in THINGS]
    return [
        ScenePlan(
            index=i,
            split="val" if val[i] else "train",
            frames=int(frames[i]),
            ground={name: float(share) for name, share in zip(GROUND, ground[i], strict=True) if share > 0},
            sky=sky[i],
            things={name: pixels[i] for name, pixels in zip(THINGS, things, strict=True) if pixels[i].any()},
        )
        for i in range(count)
    ]


def _scenes_with(random: np.random.Generator, wanted: float, val: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Choose about so many scenes, some in train and some in val.

    The first train scene always has the class: one busy scene has them all, so that a small dev can have them as well.
    """
    total = int(np.clip(round(wanted), TRAIN_SCENES_OF_A_CLASS + 1, len(val)))
    in_val = int(np.clip(round(total * val.mean()), 1, val.sum()))
    in_train = int(np.clip(total - in_val, TRAIN_SCENES_OF_A_CLASS, (~val).sum()))
    chosen = np.zeros(len(val), dtype=bool)
    chosen[random.permutation(np.flatnonzero(val))[:in_val]] = True
    train = np.flatnonzero(~val)
    chosen[train[0]] = True
    chosen[random.permutation(train[1:])[: in_train - 1]] = True
    return chosen


def _visible_frames(
    random: np.random.Generator, image_share: float, frames: NDArray[np.int64], has: NDArray[np.bool_]
) -> list[NDArray[np.bool_]]:
    """For each scene the frames that show a class, in one run: it comes into view and leaves."""
    wanted = image_share * frames.sum() / frames[has].sum()
    owed = 0.0
    visible = []
    for total, present in zip(frames, has, strict=True):
        shown = np.zeros(total, dtype=bool)
        if present:
            owed += wanted * total
            length = int(np.clip(round(owed), 1, total))
            owed -= length
            start = int(random.integers(total - length + 1))
            shown[start : start + length] = True
        visible.append(shown)
    return visible


def _plan_thing(
    random: np.random.Generator,
    name: str,
    frames: NDArray[np.int64],
    val: NDArray[np.bool_],
    frame_pixels: float,
    imbalance: float,
) -> list[NDArray[np.int64]]:
    """Pixels of a thing class in each frame of each scene."""
    image_share = min(1.0, IMAGE_SHARES[name] / imbalance)
    has = _scenes_with(random, image_share * SCENES_BY_IMAGES * len(frames), val)
    visible = _visible_frames(random, image_share, frames, has)
    weights = random.uniform(0.6, 1.4, len(frames))
    unit = PIXEL_SHARES[name] * frames.sum() / sum(w * shown.sum() for w, shown in zip(weights, visible, strict=True))
    amounts = np.maximum(1, np.round(weights * unit * frame_pixels)).astype(np.int64)
    return [amount * shown for amount, shown in zip(amounts, visible, strict=True)]


def _plan_sky(
    random: np.random.Generator, frames: NDArray[np.int64], val: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    """Share of sky in each frame of each scene: the camera tilts up, and the horizon comes down into view."""
    has = _scenes_with(random, IMAGE_SHARES["sky"] * SCENES_BY_IMAGES * len(frames), val)
    visible = _visible_frames(random, IMAGE_SHARES["sky"], frames, has)
    tilts = []
    for shown in visible:
        tilt = np.zeros(len(shown))
        tilt[shown] = np.linspace(0.7, 1.3, int(shown.sum()))
        tilts.append(tilt if random.random() < 0.5 else np.where(shown, 2 - tilt, 0.0))
    unit = PIXEL_SHARES["sky"] * frames.sum() / sum(tilt.sum() for tilt in tilts)
    return [np.minimum(0.6, unit * tilt) for tilt in tilts]


def _plan_ground(
    random: np.random.Generator,
    frames: NDArray[np.int64],
    val: NDArray[np.bool_],
    ground: NDArray[np.float64],
    imbalance: float,
) -> NDArray[np.float64]:
    """Share of each ground class in each scene, (scenes, classes), rows summing to 1.

    Rows are given by the scenes and column sums by the set's shares: proportional fitting, a few dozen rounds.
    """
    wanted = np.array([PIXEL_SHARES[name] for name in GROUND])
    things = sum(PIXEL_SHARES[name] for name in THINGS) / imbalance
    wanted[[GROUND.index("background"), GROUND.index("road")]] += things / 2
    has = np.stack([_scenes_with(random, IMAGE_SHARES[name] * len(frames), val) for name in GROUND], axis=1)
    shares = has * wanted * random.lognormal(0, 0.3, has.shape)
    rows = frames * ground
    columns = wanted / wanted.sum() * rows.sum()
    for _ in range(60):
        shares *= columns / shares.sum(axis=0)
        shares *= (rows / shares.sum(axis=1))[:, None]
    fitted: NDArray[np.float64] = shares / rows[:, None]
    return fitted
