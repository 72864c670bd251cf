"""Images that lie in two splits under two ids: what was learned is tested on itself."""

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from trainable.data.dataset_problem import Problem, name_some
from trainable.data.image_set import ImageSet, Split


def find_identical_images(image_set: ImageSet, splits: Mapping[Split, Sequence[int]]) -> list[list[int]]:
    """Find images of equal bytes in different splits; only files of equal size are read.

    Args:
        image_set: Whose images to compare.
        splits: The samples of each split.

    Returns:
        Groups of samples, ascending, whose files are the same and which lie in two splits or more.
    """
    files = [sample.image for sample in image_set]
    split_of = {index: split for split, members in splits.items() for index in members}
    groups: list[list[int]] = []
    for alike in _group(sorted(split_of), lambda index: files[index].stat().st_size):
        if len(alike) > 1:
            groups += _group(alike, lambda index: _digest(files[index]))
    return [group for group in groups if len({split_of[index] for index in group}) > 1]


def warn_of_identical_images(
    image_set: ImageSet, splits: Mapping[Split, Sequence[int]], groups: Sequence[Sequence[int]]
) -> Problem | None:
    """One warning, however many they are.

    Args:
        image_set: Whose samples the groups are of.
        splits: The samples of each split.
        groups: As `find_identical_images` finds them.
    """
    if not groups:
        return None
    split_of = {index: split for split, members in splits.items() for index in members}
    named = []
    for group in groups:
        firsts: dict[Split, int] = {}  # one of each split is enough to find the others by
        for index in group:
            firsts.setdefault(split_of[index], index)
        named.append(" = ".join(f"{image_set.samples[index].id} ({split})" for split, index in firsts.items()))
    rule = "an image should not lie in two splits under two ids"
    remedy = "Take it out of one of them: a score on what was learned says nothing"
    return Problem(None, rule, name_some(named), remedy, warning=True)


def _group(indices: Sequence[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index in indices:
        groups.setdefault(key(index), []).append(index)
    return list(groups.values())


def _digest(file: Path) -> bytes:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()
