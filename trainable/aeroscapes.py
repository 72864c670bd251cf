"""AeroScapes as it is published, and any set in the same layout."""

from collections import Counter
from pathlib import Path

from trainable.dataset_problem import Problem, name_some, refuse_any
from trainable.image_set import ImageSet, LabelClass, MaskEncoding, Sample, Split

AEROSCAPES_CLASSES: tuple[LabelClass, ...] = (
    LabelClass("background", (0, 0, 0), thing=False),
    LabelClass("person", (255, 127, 14), thing=True),
    LabelClass("bike", (0, 128, 0), thing=True),
    LabelClass("car", (152, 78, 163), thing=True),
    LabelClass("drone", (128, 0, 0), thing=True),
    LabelClass("boat", (0, 0, 128), thing=True),
    LabelClass("animal", (192, 0, 128), thing=True),
    LabelClass("obstacle", (192, 0, 0), thing=True),
    LabelClass("construction", (192, 128, 0), thing=False),
    LabelClass("plant", (0, 64, 0), thing=False),
    LabelClass("road", (128, 128, 0), thing=False),
    LabelClass("sky", (0, 128, 128), thing=False),
)
"""The classes of AeroScapes; a mask's id is the index here."""

LISTS: dict[Split, str] = {"train": "trn.txt", "val": "val.txt"}


def read_aeroscapes(root: Path) -> ImageSet:
    """Read an image set in the layout of AeroScapes.

    Args:
        root: The folder with `JPEGImages/*.jpg`, `SegmentationClass/*.png` and `ImageSets/{trn,val}.txt`.

    Returns:
        The set; the scene of `SEQUENCE_FRAME` is `SEQUENCE`.

    Raises:
        InputError: When a folder, a list or a file is missing, or a list is empty, repeats an id or shares a scene.
    """
    image_set, problems = scan_aeroscapes(root)
    refuse_any(problems)
    return image_set


def scan_aeroscapes(root: Path) -> tuple[ImageSet, list[Problem]]:
    """Read as much of the set as can be read, and say all that is wrong with it.

    Args:
        root: The folder of the set.

    Returns:
        The set of the samples that have both files, and the problems.
    """
    problems = _missing_folders(root)
    if problems:
        return _image_set(root, []), problems
    samples: list[Sample] = []
    for split, name in LISTS.items():
        found, wrong = _read_list(root, split, root / "ImageSets" / name)
        samples += found
        problems += wrong
    problems += repeated_ids([sample.id for sample in samples]) + shared_scenes(samples)
    unique = {sample.id: sample for sample in reversed(samples)}
    present = [sample for sample in unique.values() if sample.image.is_file() and sample.mask.is_file()]
    return _image_set(root, present), problems


def _image_set(root: Path, samples: list[Sample]) -> ImageSet:
    return ImageSet(
        name=root.name or "aeroscapes",
        classes=AEROSCAPES_CLASSES,
        encoding=MaskEncoding("ids", ids={label: label for label in range(len(AEROSCAPES_CLASSES))}),
        samples=tuple(sorted(samples, key=lambda sample: sample.id)),
        warnings=_warn_of_own_scenes([sample.id for sample in samples]),
    )


def _missing_folders(root: Path) -> list[Problem]:
    rule = "the root of an aeroscapes set must have the folders JPEGImages, SegmentationClass and ImageSets"
    if not root.is_dir():
        return [Problem(root, rule, "no such folder", "Correct dataset.root or unpack the set there")]
    missing = [name for name in ("JPEGImages", "SegmentationClass", "ImageSets") if not (root / name).is_dir()]
    remedy = "Point dataset.root at the folder that holds them"
    return [Problem(root / name, rule, "no such folder", remedy) for name in missing]


def _read_list(root: Path, split: Split, path: Path) -> tuple[list[Sample], list[Problem]]:
    """Read one split's list and look whether its files are there."""
    if not path.is_file():
        rule = "an aeroscapes set must have ImageSets/trn.txt and ImageSets/val.txt"
        return [], [Problem(path, rule, "no such file", "Write the ids of the split there, one a line")]
    samples = [_sample(root, split, id_) for id_ in read_ids(path)]
    if not samples:
        rule = f"the {split} list must name an image"
        return [], [Problem(path, rule, "an empty list", "Write ids there, one a line")]
    rule = f"each id of ImageSets/{path.name} must have JPEGImages/ID.jpg and SegmentationClass/ID.png"
    remedy = f"Add the file or take its id out of ImageSets/{path.name}"
    files = [file for sample in samples for file in (sample.image, sample.mask)]
    return samples, [Problem(file, rule, "no such file", remedy) for file in files if not file.is_file()]


def read_ids(path: Path) -> list[str]:
    """Read a list of ids: one a line, blank lines skipped.

    Args:
        path: The text file.

    Returns:
        The ids in the file's order.
    """
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def _sample(root: Path, split: Split, id_: str) -> Sample:
    scene, _, frame = id_.rpartition("_")
    return Sample(
        id=id_,
        image=root / "JPEGImages" / f"{id_}.jpg",
        mask=root / "SegmentationClass" / f"{id_}.png",
        scene=scene or frame,
        split=split,
    )


def _warn_of_own_scenes(ids: list[str]) -> tuple[str, ...]:
    alone = sorted(id_ for id_ in ids if not id_.rpartition("_")[0])
    if not alone:
        return ()
    return (
        f"{len(alone)} ids are not of the form SEQUENCE_FRAME ({name_some(alone)}): each of these images is taken for "
        "a scene of its own, so that near copies may lie in both train and dev. Describe the set with a scene_regex "
        "instead (dataset.layout described) if its images belong to scenes.",
    )


def repeated_ids(ids: list[str]) -> list[Problem]:
    """Find ids that occur more than once.

    Args:
        ids: As the lists name them.

    Returns:
        A problem an id.
    """
    counts = Counter(ids)
    rule, remedy = "an id must occur once in one list", "Remove its other lines from the lists of the splits"
    return [Problem(None, rule, f"{id_} {count} times", remedy) for id_, count in counts.items() if count > 1]


def shared_scenes(samples: list[Sample]) -> list[Problem]:
    """Find scenes that have images in more than one split.

    Args:
        samples: With their scenes and splits.

    Returns:
        A problem a scene.
    """
    splits: dict[str, set[str]] = {}
    for sample in samples:
        splits.setdefault(sample.scene, set()).add(sample.split)
    rule = "a scene must lie in one split, because its images are near copies"
    remedy = "Move all of the scene's images to one split, or correct what a scene is (scene_regex of a described set)"
    return [
        Problem(None, rule, f"scene {scene} in {' and '.join(sorted(names))}", remedy)
        for scene, names in splits.items()
        if len(names) > 1
    ]
