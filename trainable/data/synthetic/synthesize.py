"""A synthetic image set: seeded aerial-like scenes with the class shares of AeroScapes, in its layout.

It exists to show and to test the machinery where no data is at hand. What is learned from it is no evidence about real
images.
"""

import functools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from trainable.data.synthetic.scene import draw_scene
from trainable.data.synthetic.scene_plan import ScenePlan, plan_scenes

GENERATOR_VERSION = 1
"""Part of the key of a stored set: raise it when the drawing changes."""

JPEG_QUALITY = 92


def synthesize(
    folder: Path,
    images: int,
    size: tuple[int, int],
    seed: int,
    jobs: int = 1,
    scenes: int | None = None,
    imbalance: float = 1.0,
) -> None:
    """Write a synthetic image set; the same arguments give the same bytes.

    Args:
        folder: Where to write `JPEGImages`, `SegmentationClass` and `ImageSets`.
        images: How many, of all splits together.
        size: Their height and width.
        seed: Of everything.
        jobs: Processes that draw.
        scenes: How many, or None for one for ten images.
        imbalance: Things have this many times fewer pixels, and are in as many times fewer images, than in AeroScapes.
    """
    for name in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    plans = plan_scenes(images, size, seed, scenes, imbalance)
    write = functools.partial(_write_scene, folder, size, seed)
    if jobs == 1:
        ids = [write(plan) for plan in plans]
    else:
        # Not forked: the caller may run threads.
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            ids = list(pool.map(write, plans))
    for split, name in (("train", "trn.txt"), ("val", "val.txt")):
        lines = [id_ for plan, of_scene in zip(plans, ids, strict=True) if plan.split == split for id_ in of_scene]
        (folder / "ImageSets" / name).write_text("".join(f"{id_}\n" for id_ in lines), encoding="utf-8")


def _write_scene(folder: Path, size: tuple[int, int], seed: int, plan: ScenePlan) -> list[str]:
    """Write the frames of a scene and return their ids."""
    ids = []
    for frame, (pixels, labels) in enumerate(draw_scene(plan, size, seed)):
        id_ = f"{plan.index + 1:06d}_{frame + 1:03d}"
        # Full chroma resolution: things of a few pixels would else lose their colour.
        Image.fromarray(pixels).save(folder / "JPEGImages" / f"{id_}.jpg", quality=JPEG_QUALITY, subsampling=0)
        Image.fromarray(labels).save(folder / "SegmentationClass" / f"{id_}.png")
        ids.append(id_)
    return ids
