"""How much of an image set each class is: pixels, images and scenes, by split."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def tabulate_class_shares(
    pixel_counts: NDArray[np.int64],
    splits: Mapping[str, Sequence[int]],
    scenes: Sequence[str],
    class_names: Sequence[str],
) -> pd.DataFrame:
    """Count pixels, images and scenes of each class in each split.

    Args:
        pixel_counts: Pixels of each class in each sample, (samples, classes), ignored pixels left out.
        splits: The samples of each split, as rows of `pixel_counts`; the frame keeps their order.
        scenes: The scene of each sample.
        class_names: In label order.

    Returns:
        A row for each split and class with the columns split, label, class, pixels, pixel_share, images, image_share,
        scenes, scene_share. Shares are of the split's labelled pixels, images and scenes, and NaN where it has none.
    """
    frames = [
        _tabulate_split(split, pixel_counts[list(rows)], [scenes[row] for row in rows], class_names)
        for split, rows in splits.items()
    ]
    return pd.concat(frames, ignore_index=True)


def _tabulate_split(
    split: str, pixel_counts: NDArray[np.int64], scenes: list[str], class_names: Sequence[str]
) -> pd.DataFrame:
    present = pixel_counts > 0
    names, scene_of = np.unique(np.asarray(scenes, dtype=str), return_inverse=True)
    in_scene = np.zeros((len(names), len(class_names)), dtype=bool)
    np.logical_or.at(in_scene, scene_of, present)
    pixels, images, scene_counts = pixel_counts.sum(axis=0), present.sum(axis=0), in_scene.sum(axis=0)
    return pd.DataFrame(
        {
            "split": split,
            "label": np.arange(len(class_names)),
            "class": list(class_names),
            "pixels": pixels,
            "pixel_share": _share(pixels, int(pixels.sum())),
            "images": images,
            "image_share": _share(images, len(pixel_counts)),
            "scenes": scene_counts,
            "scene_share": _share(scene_counts, len(names)),
        }
    )


def _share(counts: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    return counts / total if total else np.full(len(counts), np.nan)
