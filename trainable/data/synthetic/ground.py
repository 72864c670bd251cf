"""The ground of a synthetic scene: roads, blocks, plants and bare earth, with the shares that its plan asks for."""

import numpy as np
from numpy.typing import NDArray

from trainable.data.synthetic.camera import Floats, Frame, Indices, ground_shape, smooth_noise
from trainable.data.synthetic.scene_plan import LABELS, ScenePlan

REFERENCE_AREA = 96 * 160  # sizes below are pixels of an image of this area; larger images scale them

COLORS: dict[str, tuple[int, int, int]] = {
    "background": (176, 152, 116),
    "construction": (178, 96, 78),
    "plant": (66, 112, 52),
    "road": (122, 122, 128),
    "sky": (168, 204, 238),
}


class Ground:
    """The ground of a scene: labels and colours of a canvas that the frames are views of.

    Args:
        random: The scene's.
        plan: With the share of each ground class among the pixels that the views show.
        size: Of a frame.
        frames: All frames, because the shares are of what is seen.
    """

    def __init__(
        self, random: np.random.Generator, plan: ScenePlan, size: tuple[int, int], frames: list[Frame]
    ) -> None:
        self.shape = ground_shape(size)
        self.unit = (size[0] * size[1] / REFERENCE_AREA) ** 0.5
        seen = sum(np.bincount(view.ground[~view.sky], minlength=self.shape[0] * self.shape[1]) for view in frames)
        self.weights = np.asarray(seen, dtype=np.float64) / np.sum(seen)
        self.labels = np.full(self.weights.shape, LABELS["background"], dtype=np.uint8)
        self.colors = self._textured(random, "background", 9, 3)
        self._pave(random, plan.ground.get("road", 0))
        self._build(random, plan.ground.get("construction", 0))
        self._plant(random, plan.ground.get("plant", 0))
        self.sky = self._draw_sky(random, size)

    def seen(self, view: Frame) -> tuple[Floats, NDArray[np.uint8]]:
        """Look at the ground, without things.

        Args:
            view: From where.

        Returns:
            Colours, height x width x 3, and labels, height x width.
        """
        ground = (
            self.colors[view.ground] * (1 - view.haze[..., None]) + np.array([190, 205, 220]) * view.haze[..., None]
        )
        pixels = np.where(view.sky[..., None], self.sky, ground)
        return pixels, np.where(view.sky, LABELS["sky"], self.labels[view.ground]).astype(np.uint8)

    def _textured(self, random: np.random.Generator, name: str, coarse: float, fine: float) -> Floats:
        """A class's colour over the whole canvas, varied at two scales."""
        shade = coarse * smooth_noise(random, self.shape, 14 * self.unit) + fine * random.normal(0, 1, self.shape)
        return np.array(COLORS[name]) + shade.reshape(-1, 1)

    def _paint(self, where: NDArray[np.bool_] | Indices, name: str, colors: Floats) -> None:
        self.labels[where] = LABELS[name]
        self.colors[where] = colors

    def _lowest(self, field: Floats, share: float, free: NDArray[np.bool_]) -> Indices:
        """Free pixels where the field is lowest, as many as make the share of what is seen."""
        order = np.flatnonzero(free)
        order = order[np.argsort(field.ravel()[order], kind="stable")]
        return order[: int(np.searchsorted(np.cumsum(self.weights[order]), share))]

    def _plant(self, random: np.random.Generator, share: float) -> None:
        """Cover what is neither road nor building with plants until they make the share."""
        field = smooth_noise(random, self.shape, 22 * self.unit) + 0.45 * smooth_noise(
            random, self.shape, 5 * self.unit
        )
        where = self._lowest(field, share, self.labels == LABELS["background"])
        crowns = 20 * smooth_noise(random, self.shape, 4 * self.unit) + 7 * random.normal(0, 1, self.shape)
        shade = crowns.reshape(-1, 1)[where] * np.array([0.8, 1.0, 0.6])
        self._paint(where, "plant", np.array(COLORS["plant"]) + shade)

    def _pave(self, random: np.random.Generator, share: float) -> None:
        """Lay one to three roads, all of the width that makes the share."""
        if share == 0:
            return
        rows, columns = np.indices(self.shape, dtype=np.float64)
        nearest = np.full(self.shape, np.inf)
        marks = np.zeros(self.shape, dtype=bool)
        angle = random.uniform(0, np.pi)
        for _ in range(random.integers(1, 4)):
            middle = np.array(self.shape) * random.uniform(0.3, 0.7, 2)
            bend = 5 * self.unit * smooth_noise(random, self.shape, 60 * self.unit)
            across = (rows - middle[0]) * np.cos(angle) - (columns - middle[1]) * np.sin(angle) + bend
            along = (rows - middle[0]) * np.sin(angle) + (columns - middle[1]) * np.cos(angle)
            marks |= (np.abs(across) < 0.8 * self.unit) & (along % (11 * self.unit) < 6 * self.unit)
            nearest = np.minimum(nearest, np.abs(across))
            angle += random.uniform(np.pi / 4, 3 * np.pi / 4)
        where = self._lowest(nearest, share, np.ones(len(self.labels), dtype=bool))
        colors = self._textured(random, "road", 4, 3)
        colors[marks.ravel()] = 228
        self._paint(where, "road", colors[where])

    def _build(self, random: np.random.Generator, share: float) -> None:
        """Put up blocks beside the roads until they make the share; the last one is cut to fit."""
        angle, missing = random.uniform(0, np.pi / 2), share
        rows, columns = np.indices(self.shape, dtype=np.float64)
        candidates = np.flatnonzero((self.labels != LABELS["road"]) & (self.weights > 0))
        for _ in range(200 if len(candidates) else 0):
            if missing <= 0:
                break
            row, column = np.unravel_index(random.choice(candidates), self.shape)
            u = ((rows - row) * np.cos(angle) - (columns - column) * np.sin(angle)).ravel()
            v = ((rows - row) * np.sin(angle) + (columns - column) * np.cos(angle)).ravel()
            half = random.uniform(6, 14, 2) * self.unit
            inside = (np.abs(u) < half[0]) & (np.abs(v) < half[1])
            free = inside & (self.labels != LABELS["road"]) & (self.labels != LABELS["construction"])
            where = self._lowest(u, missing, free)
            missing -= float(self.weights[where].sum()) or 1e-3
            roof = np.array(COLORS["construction"]) * random.uniform(0.85, 1.15)
            self._paint(where, "construction", roof * np.where(v[where] > 0, 1.12, 0.86)[:, None])

    def _draw_sky(self, random: np.random.Generator, size: tuple[int, int]) -> Floats:
        clouds = np.clip(smooth_noise(random, size, 30 * self.unit), 0, 2) * 18
        return np.array(COLORS["sky"]) + clouds[..., None] + np.linspace(-14, 10, size[0])[:, None, None]
