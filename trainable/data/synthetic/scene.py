"""One synthetic aerial scene drawn: a ground seen by a moving camera, and things that move on it."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from trainable.data.synthetic.camera import fly
from trainable.data.synthetic.ground import Ground
from trainable.data.synthetic.scene_plan import ScenePlan
from trainable.data.synthetic.things import FORMS, place_things


def draw_scene(
    plan: ScenePlan, size: tuple[int, int], seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Draw the frames of a scene.

    Args:
        plan: What it holds.
        size: Height and width of a frame.
        seed: Of the image set.

    Yields:
        The image, height x width x 3, and the labels, height x width, of each frame.
    """
    random = np.random.default_rng([seed, 1, plan.index])
    frames = fly(random, plan, size)
    ground = Ground(random, plan, size, frames)
    things = [
        thing for name in FORMS if name in plan.things for thing in place_things(random, name, plan, ground, frames)
    ]
    tint = random.uniform(0.9, 1.1, 3)  # the light of the day
    for frame, view in enumerate(frames):
        pixels, labels = ground.seen(view)
        for thing in things:
            thing.draw(frame, pixels, labels)
        noise = np.random.default_rng([seed, 2, plan.index, frame]).normal(0, 4, pixels.shape)
        yield np.clip(pixels * tint + noise, 0, 255).astype(np.uint8), labels
