"""How unequal the classes of an image set are: pixels and images by class, and what that says in words."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.evidence.class_shares import tabulate_class_shares
from analysis.words.number_words import counted, listed, sentence
from analysis.words.share_words import percent, times
from trainable.data.image_set import LabelClass
from trainable.data.scene_split import SplitAssignment

MOST_OF_THE_PIXELS: Final = 0.95
RAREST: Final = 3
"""How many of the rarest classes are compared between train and val."""

LITTLE: Final = 1.25
"""Ratio of two shares below which they count as alike."""


def shown_splits(splits: SplitAssignment, dev_apart: bool = False) -> dict[str, tuple[int, ...]]:
    """The samples of each split as a distribution shows them.

    Args:
        splits: Of a search.
        dev_apart: Show dev by itself; else it counts to train, which it was taken from.
    """
    if dev_apart:
        return {"train": splits.train, "dev": splits.dev, "val": splits.val}
    return {"train": tuple(sorted((*splits.train, *splits.dev))), "val": splits.val}


def tabulate_class_distribution(
    pixel_counts: NDArray[np.int64],
    splits: Mapping[str, Sequence[int]],
    scenes: Sequence[str],
    classes: Sequence[LabelClass],
) -> pd.DataFrame:
    """Tabulate the shares of the classes by split, the most frequent class of all splits together first.

    Args:
        pixel_counts: Pixels of each class in each sample, (samples, classes), ignored pixels left out.
        splits: The samples of each split, as rows of `pixel_counts`.
        scenes: The scene of each sample.
        classes: In label order.

    Returns:
        A row for each class and split, a class's splits together, in the order given: the columns of
        `tabulate_class_shares`, and `thing`, `of_images`, `of_scenes` (how many the split has).
    """
    frame = tabulate_class_shares(pixel_counts, splits, scenes, [entry.name for entry in classes])
    frame["thing"] = [classes[label].thing for label in frame["label"]]
    frame["of_images"] = frame["split"].map({split: len(rows) for split, rows in splits.items()})
    frame["of_scenes"] = frame["split"].map({s: len({scenes[row] for row in rows}) for s, rows in splits.items()})
    totals = frame.groupby("label")["pixels"].sum().sort_index().to_numpy()
    rank = np.argsort(np.argsort(-totals, kind="stable"), kind="stable")
    order = np.lexsort((np.arange(len(frame)), rank[frame["label"].to_numpy()]))
    return frame.iloc[order].reset_index(drop=True)


def pool_splits(frame: pd.DataFrame) -> pd.DataFrame:
    """All splits of a distribution together.

    Args:
        frame: Of `tabulate_class_distribution`.

    Returns:
        A row a class, the most frequent first: class, thing, pixels, pixel_share, images, image_share.
    """
    pooled = frame.groupby("class", sort=False).agg(
        thing=("thing", "first"), pixels=("pixels", "sum"), images=("images", "sum"), of_images=("of_images", "sum")
    )
    pooled["pixel_share"] = pooled["pixels"] / max(1, int(pooled["pixels"].sum()))
    pooled["image_share"] = pooled["images"] / pooled["of_images"].clip(lower=1)
    return pooled.drop(columns="of_images").reset_index()


def describe_shares(frame: pd.DataFrame) -> str:
    """Say how few classes have most of the pixels, what things have together, and what never occurs.

    Args:
        frame: Of `tabulate_class_distribution`, with a labelled pixel.
    """
    pooled = pool_splits(frame)
    sentences = [_describe_concentration(pooled["pixel_share"].to_numpy(dtype=np.float64))]
    things = pooled[pooled["thing"]]
    if things["pixels"].any():
        who = f"the {len(things)} thing classes together have"
        who = who if len(things) > 1 else f"the only thing class, {things['class'].iloc[0]}, has"
        sentences.append(sentence(f"{who} {percent(things['pixel_share'].sum())} of them"))
    absent = pooled.loc[pooled["pixels"] == 0, "class"].tolist()
    if absent:
        sentences.append(f"No mask has a pixel of {listed(absent)}.")
    return " ".join(sentences)


def _describe_concentration(shares: NDArray[np.float64]) -> str:
    """The least number of classes that together have most of the pixels; shares descend."""
    needed = int(np.searchsorted(shares.cumsum(), MOST_OF_THE_PIXELS - 1e-12)) + 1
    have = percent(float(shares[:needed].sum()))
    if needed == len(shares):
        every = "both" if needed == 2 else f"all {needed}"
        return f"It takes {every} classes to have {100 * MOST_OF_THE_PIXELS:.0f} % of the labelled pixels."
    if needed == 1:
        return f"The most frequent of {len(shares)} classes has {have} of the labelled pixels."
    return f"The {needed} most frequent of {len(shares)} classes have {have} of the labelled pixels."


def describe_rarity(frame: pd.DataFrame) -> str:
    """Say how rare the rarest thing (or class) is, and how much the rarest classes differ between the splits.

    Args:
        frame: Of `tabulate_class_distribution`, with a labelled pixel.
    """
    pooled = pool_splits(frame)
    occurring = pooled[pooled["pixels"] > 0]
    if len(occurring) < 2:
        return ""
    things = occurring[occurring["thing"]]
    who, rarest = ("rarest class", occurring.iloc[-1])
    if len(things):
        who, rarest = ("rarest thing" if len(things) > 1 else "only thing that occurs"), things.iloc[-1]
    first = occurring.iloc[0]
    said = (
        f"The {who}, {rarest['class']}, has {percent(rarest['pixel_share'])} of the pixels and is in "
        f"{percent(rarest['image_share'])} of the images"
    )
    if first["pixels"] >= LITTLE * rarest["pixels"]:
        said += f"; {first['class']} has {times(first['pixels'] / rarest['pixels'])} times as many pixels"
    return f"{said}. {_describe_difference(frame, occurring['class'].tolist()[1:][-RAREST:])}".strip()


def _describe_difference(frame: pd.DataFrame, rarest: list[str]) -> str:
    """Compare the rarest classes between the first split and the last."""
    names = frame["split"].drop_duplicates().tolist()
    if len(names) < 2:
        return ""
    shares = frame.pivot_table(index="class", columns="split", values="pixel_share", sort=False).loc[rarest]
    first, last = shares[names[0]], shares[names[-1]]
    if np.isnan(first.to_numpy()).any() or np.isnan(last.to_numpy()).any():
        return ""
    for name, values in ((names[0], first), (names[-1], last)):
        missing = values.index[values == 0].tolist()
        if missing:
            return f"No pixel of {listed(missing)} is in {name}."
    ratios = np.maximum(first / last, last / first)
    most = str(ratios.idxmax())
    among = f"the {len(rarest)} rarest classes"
    if ratios[most] < LITTLE:
        shared = f"{among} have" if len(rarest) > 1 else f"{most} has"
        return f"In {names[0]} and {names[-1]}, {shared} about the same share of the pixels."
    scenes = frame[frame["class"] == most].set_index("split")["scenes"]
    subject = f"Of {among}, {most} differs most" if len(rarest) > 1 else f"The splits differ in {most}"
    return (
        f"{subject}: {percent(first[most])} of the pixels of {names[0]} ({counted(scenes[names[0]], 'scene')}) and "
        f"{percent(last[most])} of {names[-1]} ({counted(scenes[names[-1]], 'scene')})."
    )
