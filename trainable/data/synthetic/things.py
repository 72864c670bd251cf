"""The things of a synthetic scene: small objects of an exact area that move with the ground and on their own."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.data.synthetic.camera import Floats, Frame
from trainable.data.synthetic.ground import Ground
from trainable.data.synthetic.scene_plan import LABELS, ScenePlan


@dataclass(frozen=True)
class ThingForm:
    """How the things of a class look.

    Attributes:
        color: Of the class.
        pixels: Typical area of one.
        aspect: Length by width.
        round: Ellipse rather than rectangle.
        stands_on: Classes that it is placed on, as far as the scene has them.
        speed: Pixels a frame.
    """

    color: tuple[int, int, int]
    pixels: float
    aspect: float
    round: bool
    stands_on: tuple[str, ...]
    speed: float


FORMS: dict[str, ThingForm] = {  # in the order of drawing: what flies comes last
    "obstacle": ThingForm((244, 214, 40), 30, 2.2, False, ("road", "background"), 0.0),
    "animal": ThingForm((92, 54, 26), 38, 1.8, True, ("plant", "background"), 0.6),
    "car": ThingForm((44, 70, 200), 80, 2.0, False, ("road", "background"), 2.0),
    "person": ThingForm((236, 84, 40), 18, 1.5, True, ("road", "background", "plant"), 0.7),
    "bike": ThingForm((20, 168, 172), 14, 2.6, True, ("road", "background"), 1.4),
    "drone": ThingForm((210, 30, 200), 6, 1.2, True, ("plant", "sky", "construction", "background"), 1.2),
}


@dataclass(frozen=True)
class Thing:
    """One moving thing.

    Attributes:
        name: Of its class.
        pixels: Its area in each frame; 0 while it is out of view, (frames,).
        path: Row and column of its middle in each frame, (frames, 2).
        angle: Of its length.
        shade: Brightness of its colour.
    """

    name: str
    pixels: NDArray[np.int64]
    path: Floats
    angle: float
    shade: float

    def draw(self, frame: int, pixels: Floats, labels: NDArray[np.uint8]) -> None:
        """Draw the thing into a frame: exactly its area, as the pixels that lie deepest inside its form.

        Args:
            frame: Which frame.
            pixels: Its colours, drawn into.
            labels: Its labels, drawn into.
        """
        area, form = int(self.pixels[frame]), FORMS[self.name]
        if area == 0:
            return
        reach = int(2 * (area * form.aspect) ** 0.5) + 2
        middle = np.clip(np.round(self.path[frame]).astype(int), 0, np.array(labels.shape) - 1)
        low, high = np.maximum(middle - reach, 0), np.minimum(middle + reach + 1, labels.shape)
        rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
        down, right = rows - self.path[frame, 0], columns - self.path[frame, 1]
        u = (down * np.sin(self.angle) + right * np.cos(self.angle)) / form.aspect**0.5
        v = (down * np.cos(self.angle) - right * np.sin(self.angle)) * form.aspect**0.5
        depth = u**2 + v**2 if form.round else np.maximum(np.abs(u), np.abs(v))
        inside = np.unravel_index(np.argsort(depth, axis=None, kind="stable")[:area], depth.shape)
        at = rows[inside], columns[inside]
        labels[at] = LABELS[self.name]
        pixels[at] = self._colors(u[inside] / area**0.5, v[inside] / area**0.5)

    def _colors(self, u: Floats, v: Floats) -> Floats:
        """Colours inside the form by its own coordinates, about -0.5 to 0.5."""
        colors = np.tile(np.array(FORMS[self.name].color) * self.shade, (len(u), 1))
        if self.name == "car":
            colors[(np.abs(u) > 0.12) & (np.abs(u) < 0.3)] = (24, 28, 40)  # windows
        elif self.name == "person":
            colors[u**2 + v**2 < 0.02] = (60, 36, 24)  # the head from above
        elif self.name == "obstacle":
            colors[np.floor(u * 6) % 2 == 0] = (30, 30, 30)  # warning stripes
        elif self.name == "animal":
            colors[np.sin(9 * u + 5 * v) > 0.6] = (224, 214, 200)  # patches
        return colors


def place_things(
    random: np.random.Generator, name: str, plan: ScenePlan, ground: Ground, frames: list[Frame]
) -> Iterator[Thing]:
    """Divide the pixels of a thing class among several things, each on ground that suits it while it is in view.

    Args:
        random: The scene's.
        name: Of the class.
        plan: With the pixels of the class in each frame.
        ground: To place them on.
        frames: All frames.

    Yields:
        The things.
    """
    form, pixels = FORMS[name], plan.things[name]
    shown = np.flatnonzero(pixels)
    count = max(1, round(pixels[shown[0]] / (form.pixels * ground.unit**2)))
    weights = random.uniform(0.6, 1.4, count)
    edges = np.round(np.concatenate([[0], np.cumsum(weights / weights.sum())])[:, None] * pixels).astype(np.int64)
    first = int(shown[len(shown) // 2])
    _, labels = ground.seen(frames[first])
    margin = max(3, round(8 * ground.unit))
    suited = np.isin(labels, [LABELS[stuff] for stuff in form.stands_on])
    suited[:margin] = suited[-margin:] = suited[:, :margin] = suited[:, -margin:] = False
    candidates = np.argwhere(suited if suited.any() else np.ones_like(suited))
    for area in np.diff(edges, axis=0):
        heading = random.uniform(0, 2 * np.pi)
        step = np.array([np.sin(heading), np.cos(heading)]) * form.speed * ground.unit
        middle = candidates[random.integers(len(candidates))].astype(np.float64)
        path = _follow(middle, first, frames) + (np.arange(plan.frames) - first)[:, None] * step
        path = np.clip(path, margin, np.array(labels.shape) - 1 - margin)
        yield Thing(name, area, path, heading, random.uniform(0.85, 1.1))


def _follow(middle: Floats, first: int, frames: list[Frame]) -> Floats:
    """Where a resting point of one frame lies in each frame, (frames, 2): it moves with the ground and the horizon."""
    height = frames[0].ground.shape[0]
    horizons = np.array([view.horizon for view in frames])
    if horizons.any():
        below = (middle[0] - horizons[first]) / (height - horizons[first])
        return np.stack([horizons + below * (height - horizons), np.full(len(frames), middle[1])], axis=1)
    cameras = np.array([view.camera for view in frames])
    return np.asarray(middle + frames[first].camera - cameras)
