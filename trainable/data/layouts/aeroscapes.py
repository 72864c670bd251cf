"""AeroScapes as it is published, and any set in the same layout."""

from collections.abc import Callable
from pathlib import Path

from trainable.data.dataset_config import DatasetConfig, not_given
from trainable.data.dataset_problem import Problem, name_some, os_fault, path_fault, refuse_any
from trainable.data.files.file_selection import FileSelection
from trainable.data.files.path_pattern import PathPattern
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding, Sample, Split
from trainable.data.layouts.scan_root import scan_root

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

AEROSCAPES_FILES = FileSelection(
    (PathPattern("JPEGImages/**/*.jpg"), PathPattern("SegmentationClass/**/*.png")),
    tuple(f"ImageSets/{name}" for name in LISTS.values()),
)
"""The files that a set in this layout is read from."""


def read(
    config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None
) -> tuple[ImageSet | None, list[Problem]]:
    """Read the set of a config: a `Reader` of `read_image_set`."""
    if config.root is None:
        raise not_given("root")
    return scan_root(config.root, AEROSCAPES_FILES, cache_dir, say, scan_aeroscapes)


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
    absent: set[Path] = set()
    for split, name in LISTS.items():
        found, wrong = _read_list(root, split, root / "ImageSets" / name)
        samples += found
        problems += wrong
        absent |= {problem.file for problem in wrong if problem.file}
    named = [(sample.id, LISTS[sample.split]) for sample in samples]
    problems += repeated_ids(named) + shared_scenes(samples)
    unique = {sample.id: sample for sample in reversed(samples)}
    present = [sample for sample in unique.values() if not {sample.image, sample.mask} & absent]
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
    fault = path_fault(root, folder=True)
    if fault:
        return [Problem(root, rule, fault, "Correct dataset.root or unpack the set there")]
    folders = [root / name for name in ("JPEGImages", "SegmentationClass", "ImageSets")]
    faults = {folder: path_fault(folder, folder=True) for folder in folders}
    remedy = "Point dataset.root at the folder that holds them"
    return [Problem(folder, rule, fault, remedy) for folder, fault in faults.items() if fault]


def _read_list(root: Path, split: Split, path: Path) -> tuple[list[Sample], list[Problem]]:
    """Read one split's list and look whether its files are there."""
    fault = path_fault(path)
    if fault:
        rule = "an aeroscapes set must have ImageSets/trn.txt and ImageSets/val.txt"
        return [], [Problem(path, rule, fault, "Write the ids of the split there, one a line")]
    ids, problems = read_ids(path)
    if problems:
        return [], problems
    samples = [_sample(root, split, id_) for id_ in ids]
    if not samples:
        rule = f"the {split} list must name an image"
        return [], [Problem(path, rule, "an empty list", "Write ids there, one a line")]
    rule = f"each id of ImageSets/{path.name} must have JPEGImages/ID.jpg and SegmentationClass/ID.png"
    remedy = f"Add the file or take its id out of ImageSets/{path.name}"
    faults = {file: path_fault(file) for sample in samples for file in (sample.image, sample.mask)}
    return samples, [Problem(file, rule, fault, remedy) for file, fault in faults.items() if fault]


def read_ids(path: Path) -> tuple[list[str], list[Problem]]:
    """Read a list of ids: one a line, blank lines skipped.

    Args:
        path: The text file.

    Returns:
        The ids in the file's order, and why there are none where it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        value = f"byte 0x{error.object[error.start]:02x} in line {line}"
        return [], [Problem(path, "a list of ids must be UTF-8 text", value, "Save it as UTF-8, one id a line")]
    except OSError as error:
        return [], [
            Problem(path, "a list of ids must be readable", os_fault(error), "Give yourself the right to read it")
        ]
    return [line.strip() for line in lines if line.strip()], []


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


def repeated_ids(named: list[tuple[str, str]]) -> list[Problem]:
    """Find ids that occur more than once.

    Args:
        named: Each id with the list that names it.

    Returns:
        A problem an id.
    """
    lists: dict[str, list[str]] = {}
    for id_, name in named:
        lists.setdefault(id_, []).append(name)
    rule, remedy = "an id must occur once in one list", "Remove its other lines from the lists of the splits"
    return [
        Problem(None, rule, f"{id_} {len(names)} times ({', '.join(names)})", remedy)
        for id_, names in lists.items()
        if len(names) > 1
    ]


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
