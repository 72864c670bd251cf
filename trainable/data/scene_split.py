"""Whole scenes divided between splits, so that near copies of a frame never lie on both sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainable.data.image_set import ImageSet, Split
from trainable.errors import InputError

EXHAUSTIVE_SCENES = 12  # up to here all 2**scenes choices are compared; beyond, a local search
RESTARTS = 6
MOST_RESTARTS = 60  # while some class is on the wrong side
SWAPS = 2000  # pairs of scenes that one step of the search looks at, when there are more
ONE_SIDED_COST = 1e6  # a class that could lie on both sides and does not: outweighs everything else
TAKEN_COST = 1e3  # a class whose only scene is taken from train: outweighs every share
CLASS_SHARE_WEIGHT = 0.5  # the share of images counts twice as much as the classes' shares of pixels


@dataclass(frozen=True)
class DevChoice:
    """The scenes that are held out of train for tuning.

    Attributes:
        dev_scenes: Their names, sorted.
        warnings: A sentence for each class that is not on both sides, and for a share far from the one asked.
    """

    dev_scenes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitAssignment:
    """The samples of each split, as indices into the image set.

    Attributes:
        train: Learned from.
        dev: Tuned on.
        val: Touched once, by the confirmation.
        warnings: What the user should know about the splits.
    """

    train: tuple[int, ...]
    dev: tuple[int, ...]
    val: tuple[int, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Side:
    """Sums over the dev scenes of B candidate choices.

    Attributes:
        scenes: Dev scenes that have the class, (B, classes).
        pixels: Pixels of the class, (B, classes).
        images: Images, (B,).
        count: Dev scenes, (B,).
    """

    scenes: NDArray[np.float64]
    pixels: NDArray[np.float64]
    images: NDArray[np.float64]
    count: NDArray[np.float64]


class _Scenes:
    """What each scene holds, and what a choice among them costs; S scenes, C classes.

    Args:
        scenes: The scene of each train sample.
        pixel_counts: Pixels of each class in each train sample.
        dev_share: Wanted share of the images.
    """

    def __init__(self, scenes: Sequence[str], pixel_counts: NDArray[np.int64], dev_share: float) -> None:
        self.names, scene_of, images = np.unique(np.asarray(scenes), return_inverse=True, return_counts=True)
        self.images_S = images.astype(np.float64)
        self.pixels_SC = np.zeros((len(self.names), pixel_counts.shape[1]))
        np.add.at(self.pixels_SC, scene_of, pixel_counts)
        self.has_SC = (self.pixels_SC > 0).astype(np.float64)
        self.scenes_C = self.has_SC.sum(axis=0)
        self.dev_share = dev_share

    def __len__(self) -> int:
        return len(self.names)

    def side(self, chosen_BS: NDArray[np.bool_]) -> _Side:
        """The sums of candidate choices."""
        chosen = chosen_BS.astype(np.float64)
        return _Side(chosen @ self.has_SC, chosen @ self.pixels_SC, chosen @ self.images_S, chosen.sum(axis=1))

    def moved(self, dev: _Side, out: NDArray[np.intp], into: NDArray[np.intp]) -> _Side:
        """The sums after scenes `out` left and scenes `into` joined; -1 stands for none."""
        return _Side(
            dev.scenes + _rows(self.has_SC, into) - _rows(self.has_SC, out),
            dev.pixels + _rows(self.pixels_SC, into) - _rows(self.pixels_SC, out),
            dev.images + _rows(self.images_S, into) - _rows(self.images_S, out),
            dev.count + (into >= 0) - (out >= 0),
        )

    def cost(self, dev: _Side) -> NDArray[np.float64]:
        """What candidates cost: one-sided classes first, then lone classes taken from train, then the shares."""
        shared = self.scenes_C >= 2
        one_sided = ((dev.scenes == 0) | (dev.scenes == self.scenes_C)) & shared
        taken = (dev.scenes > 0) & (self.scenes_C == 1)
        cost = ONE_SIDED_COST * one_sided.sum(axis=1) + TAKEN_COST * taken.sum(axis=1)
        cost += np.abs(dev.images / self.images_S.sum() - self.dev_share)
        if shared.any():
            pixel_share = dev.pixels[:, shared] / self.pixels_SC[:, shared].sum(axis=0)
            cost += CLASS_SHARE_WEIGHT * np.abs(pixel_share - self.dev_share).mean(axis=1)
        impossible = (dev.count == 0) | (dev.count == len(self))
        return np.where(impossible, np.inf, cost)


def _rows(values: NDArray[np.float64], index: NDArray[np.intp]) -> NDArray[np.float64]:
    """Rows of `values`, zero where the index is -1."""
    picked = values[index]
    picked[index < 0] = 0
    return picked


def choose_dev_scenes(
    scenes: Sequence[str],
    pixel_counts: NDArray[np.int64],
    dev_share: float,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> DevChoice:
    """Choose the scenes to hold out of train: about a share of the images, and every class on both sides.

    A class that occurs in two scenes or more lies in dev and in train. A class of one scene stays in train. Among the
    choices that hold to this, the one with the best shares of images and of each class's pixels is looked for.

    Args:
        scenes: The scene of each train sample.
        pixel_counts: Pixels of each class in each train sample, (samples, classes).
        dev_share: Share of the images to hold out; one scene at least.
        seed: Decides between choices that are as good.
        class_names: For the warnings.

    Returns:
        The scenes, and warnings where a rule cannot be kept.

    Raises:
        InputError: When there are fewer than two scenes.
    """
    table = _Scenes(scenes, pixel_counts, dev_share)
    if len(table) < 2:
        raise InputError(
            "train must have two scenes or more for dev to be chosen from them",
            f"{len(table)} ({', '.join(table.names)})",
            "Give the set a dev split of its own, or correct what a scene is (scene_regex)",
        )
    random = np.random.default_rng(seed)
    chosen = _best_of_all(table, random) if len(table) <= EXHAUSTIVE_SCENES else _best_found(table, random)
    dev_scenes = tuple(str(name) for name in table.names[chosen])
    return DevChoice(dev_scenes, tuple(_warn(table, chosen, class_names)))


def _best_of_all(table: _Scenes, random: np.random.Generator) -> NDArray[np.bool_]:
    """Compare all choices, in an order that the seed decides."""
    codes = random.permutation(np.arange(1, 2 ** len(table) - 1))
    chosen_BS = (codes[:, None] >> np.arange(len(table)) & 1).astype(bool)
    best: NDArray[np.bool_] = chosen_BS[int(table.cost(table.side(chosen_BS)).argmin())]
    return best


def _best_found(table: _Scenes, random: np.random.Generator) -> NDArray[np.bool_]:
    """Improve random choices by moving and swapping scenes until none helps; keep the best of several."""
    best, least = np.zeros(len(table), dtype=bool), np.inf
    for restart in range(MOST_RESTARTS):
        if restart >= RESTARTS and least < TAKEN_COST:
            break
        share = table.dev_share if restart < RESTARTS else random.random()
        chosen = _improve(table, _random_choice(table, share, random), random)
        cost = float(table.cost(table.side(chosen[None]))[0])
        if cost < least:
            best, least = chosen, cost
    return best


def _random_choice(table: _Scenes, share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    order = random.permutation(len(table))
    within = np.cumsum(table.images_S[order]) <= share * table.images_S.sum()
    within[0] = True
    chosen = np.zeros(len(table), dtype=bool)
    chosen[order[within]] = True
    return chosen


def _improve(table: _Scenes, chosen: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """Take the best move or swap while one lowers the cost."""
    dev = table.side(chosen[None])
    cost = float(table.cost(dev)[0])
    while True:
        out, into = _moves(chosen, random)
        costs = table.cost(table.moved(dev, out, into))
        best = int(costs.argmin())
        if costs[best] >= cost - 1e-9:  # not for a rounding error, which would go round in circles
            return chosen
        chosen[out[best]] &= out[best] < 0
        chosen[into[best]] |= into[best] >= 0
        dev = table.side(chosen[None])
        cost = float(table.cost(dev)[0])


def _moves(chosen: NDArray[np.bool_], random: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Scenes that leave dev and scenes that join it: each alone, and pairs; -1 is none."""
    inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    pairs = np.arange(len(inside) * len(outside))
    if len(pairs) > SWAPS:
        pairs = random.choice(len(pairs), SWAPS, replace=False)
    out = np.concatenate([inside, np.full(len(outside), -1), inside[pairs // max(1, len(outside))]])
    into = np.concatenate([np.full(len(inside), -1), outside, outside[pairs % max(1, len(outside))]])
    return out, into


def _warn(table: _Scenes, chosen: NDArray[np.bool_], class_names: Sequence[str] | None) -> list[str]:
    names = class_names or [f"class {label}" for label in range(len(table.scenes_C))]
    in_dev = table.has_SC[chosen].sum(axis=0)
    warnings = []
    for label, (total, dev) in enumerate(zip(table.scenes_C, in_dev, strict=True)):
        if total == 1:
            warnings.append(_warn_of_lone(names[label], taken=dev == 1))
        elif total > 1 and dev in (0, total):
            side = "train" if dev == 0 else "dev"
            warnings.append(
                f"{names[label]}: lies in {side} only, because the scenes of other classes leave no choice that has "
                "every class on both sides. Give the set a dev split of its own."
            )
    share = table.images_S[chosen].sum() / table.images_S.sum()
    if not 0.5 * table.dev_share <= share <= 2 * table.dev_share:
        warnings.append(
            f"dev has {share:.0%} of the train images where dev_share asks for {table.dev_share:.0%}: whole scenes "
            "with every class on both sides come no closer."
        )
    return warnings


def _warn_of_lone(name: str, taken: bool) -> str:
    if taken:
        return f"{name}: its only train scene had to go to dev, so it is not learned. Give the set a dev split."
    return f"{name}: occurs in one train scene only, which stays in train, so that the search cannot tune on it."


def assign_splits(image_set: ImageSet, pixel_counts: NDArray[np.int64], dev_share: float, seed: int) -> SplitAssignment:
    """Divide an image set's samples, choosing dev from train where the set has none.

    Args:
        image_set: With the splits of its author.
        pixel_counts: Pixels of each class in each sample, (samples, classes), ignored pixels left out.
        dev_share: Share of the train images to hold out as dev, where the set has no dev split.
        seed: Of the choice.

    Returns:
        The samples of each split, ascending, and warnings.

    Raises:
        InputError: When train or val is empty, or train has one scene only and the set no dev split.
    """
    members: dict[Split, list[int]] = {"train": [], "dev": [], "val": []}
    for index, sample in enumerate(image_set):
        members[sample.split].append(index)
    for split, indices in members.items():
        if split != "dev" and not indices:
            raise InputError(f"the {split} split must have an image", "none", "Correct the split of the image set")
    names = [entry.name for entry in image_set.classes]
    warnings: tuple[str, ...] = ()
    if not members["dev"]:
        train = members["train"]
        scenes = [image_set.samples[i].scene for i in train]
        choice = choose_dev_scenes(scenes, pixel_counts[train], dev_share, seed, names)
        warnings = choice.warnings
        members["dev"] = [i for i in train if image_set.samples[i].scene in choice.dev_scenes]
        members["train"] = [i for i in train if image_set.samples[i].scene not in choice.dev_scenes]
    warnings += tuple(_warn_of_absent(names, members, pixel_counts))
    return SplitAssignment(tuple(members["train"]), tuple(members["dev"]), tuple(members["val"]), warnings)


def _warn_of_absent(names: list[str], members: Mapping[Split, list[int]], pixel_counts: NDArray[np.int64]) -> list[str]:
    """Name the classes that some split has none of."""
    absent = {split: pixel_counts[rows].sum(axis=0) == 0 for split, rows in members.items()}
    never = absent["train"] & absent["dev"] & absent["val"]
    warnings = [f"{names[label]}: never occurs, so it has no score." for label in np.flatnonzero(never)]
    consequences: dict[Split, str] = {"train": "is not learned", "dev": "is not tuned on", "val": "has no final score"}
    for split, consequence in consequences.items():
        missing = [names[label] for label in np.flatnonzero(absent[split] & ~never)]
        if missing:
            warnings.append(f"{', '.join(missing)}: does not occur in {split} and {consequence}.")
    return warnings


def draw_scenes(images: Mapping[str, int], wanted: float, seed: int, leave: int = 1) -> tuple[str, ...]:
    """Draw whole scenes until they have about so many images, without looking at their classes.

    Args:
        images: How many images each scene has.
        wanted: How many images to draw.
        seed: Of the draw.
        leave: How many scenes must stay undrawn.

    Returns:
        The drawn scenes, sorted; one at least.
    """
    order = [sorted(images)[i] for i in np.random.default_rng(seed).permutation(len(images))]
    drawn: list[str] = []
    total = 0
    for scene in order:
        closer = abs(total + images[scene] - wanted) < abs(total - wanted)
        if len(drawn) < len(order) - leave and closer:
            drawn.append(scene)
            total += images[scene]
    return tuple(sorted(drawn)) or (min(order, key=lambda scene: images[scene]),)
