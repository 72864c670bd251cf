"""Any image set whose files a data-set YAML describes."""

import functools
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from trainable.data.dataset_config import DatasetConfig, not_given
from trainable.data.dataset_problem import Problem, name_some, os_fault, path_fault, refuse_any
from trainable.data.dataset_yaml import (
    Description,
    ListSplit,
    SceneSplit,
    ShareSplit,
    load_description,
    scan_description,
)
from trainable.data.files.file_selection import FileSelection
from trainable.data.files.path_pattern import PathPattern
from trainable.data.image_set import ImageSet, Sample, Split
from trainable.data.layouts.aeroscapes import read_ids, repeated_ids, shared_scenes
from trainable.data.layouts.scan_root import scan_root
from trainable.data.scene_split import draw_scenes

SPLITS: tuple[Split, ...] = ("train", "dev", "val")


def read(
    config: DatasetConfig, cache_dir: Path, say: Callable[[str], None] | None
) -> tuple[ImageSet | None, list[Problem]]:
    """Read the set of a config: a `Reader` of `read_image_set`."""
    given = config.description
    if given is None:
        raise not_given("description")
    description, problems = (given, []) if isinstance(given, Description) else scan_description(given)
    if description is None:
        return None, problems
    source = given if isinstance(given, Path) else None
    root = config.root or description.root
    scan = functools.partial(scan_described, description, source=source)
    return scan_root(root, files_of(description), cache_dir, say, scan)


def read_described(path: Path, root: Path | None = None) -> ImageSet:
    """Read an image set of this machine by its description.

    Args:
        path: The data-set YAML.
        root: Overrides the description's own root, which must be no URL otherwise.

    Returns:
        The set.

    Raises:
        InputError: When the description is wrong, nothing matches, files lack their partner, or a split is impossible.
    """
    description = load_description(path)
    image_set, problems = scan_described(description, root or Path(description.root), path)
    refuse_any(problems)
    return image_set


def files_of(description: Description) -> FileSelection:
    """The files that a described set is read from."""
    split = description.split
    lists = (split.train, split.dev, split.val) if isinstance(split, ListSplit) else ()
    patterns = (PathPattern(description.images), PathPattern(description.masks))
    return FileSelection(patterns, tuple(listed.as_posix() for listed in lists if listed))


def scan_described(description: Description, root: Path, source: Path | None) -> tuple[ImageSet, list[Problem]]:
    """Read as much of the set as can be read, and say all that is wrong with it.

    Args:
        description: What the YAML says.
        root: The folder that the globs start from, whatever the description says of it.
        source: The YAML, or None for a description that stands in a config.

    Returns:
        The set of the pairs that have a split, and the problems.
    """
    pairs, problems = _find_pairs(description, root)
    scenes, wrong = _find_scenes(description, source, list(pairs))
    problems += wrong
    splits, wrong, warnings = _split(description, source, root, scenes)
    problems += wrong
    samples = tuple(Sample(id_, *pairs[id_], scenes[id_], splits[id_]) for id_ in sorted(splits))
    problems += shared_scenes(list(samples)) + (_empty_splits(source, samples) if pairs else [])
    if description.scene_regex is None:
        warnings.append(
            "scene_regex is null: each image is taken for a scene of its own, so that overlapping or neighbouring "
            "images may lie in several splits."
        )
    image_set = ImageSet(
        description.name, description.label_classes, description.mask_encoding, samples, tuple(warnings)
    )
    return image_set, problems


def _find_pairs(description: Description, root: Path) -> tuple[dict[str, tuple[Path, Path]], list[Problem]]:
    """Pair images with masks by what the wildcards match."""
    fault = path_fault(root, folder=True)
    if fault:
        remedy = "Correct root in the description, or set dataset.root"
        return {}, [Problem(root, "the root of a described set must be a folder", fault, remedy)]
    images, problems = _find(root, "images", description.images)
    masks, wrong = _find(root, "masks", description.masks)
    problems += wrong
    for what, glob, found in (("images", description.images, images), ("masks", description.masks, masks)):
        if not found:
            remedy = "Correct the glob (* stays within a folder, case counts) or the root"
            problems.append(Problem(root, f"the glob of the {what} must match files", f"no file for {glob!r}", remedy))
    if images and masks:
        problems += _lonely("image", "mask", images, masks) + _lonely("mask", "image", masks, images)
    return {id_: (images[id_], masks[id_]) for id_ in images if id_ in masks}, problems


def _find(root: Path, what: str, glob: str) -> tuple[dict[str, Path], list[Problem]]:
    """The files of a glob by id, and those whose id is taken or no text."""
    try:
        matches = list(PathPattern(glob).find(root))
    except OSError as error:
        broken = f"all folders that the glob of the {what} goes through must be readable"
        return {}, [
            Problem(Path(error.filename or root), broken, os_fault(error), "Give yourself the right to read it")
        ]
    found: dict[str, Path] = {}
    problems = []
    rule = f"what the wildcards of the glob of the {what} match must be unique"
    remedy = "Write * for every part of the path that differs between files"
    for id_, path in matches:
        if not _is_text(f"{path}"):
            broken = "the name of a file must be UTF-8"
            problems.append(Problem(None, broken, ascii(f"{path}"), "Rename it (convmv -f latin1 -t utf8 --notest)"))
            continue
        first = found.setdefault(id_, path)
        if first != path:
            problems.append(Problem(path, rule, f"id {id_!r}, which {first} has as well", remedy))
    return found, problems


def _is_text(name: str) -> bool:
    """Whether a path can be printed and recorded: bytes that are no UTF-8 are surrogates in it."""
    return name.isascii() or not re.search("[\ud800-\udfff]", name)


def _lonely(what: str, partner: str, files: Mapping[str, Path], partners: Mapping[str, Path]) -> list[Problem]:
    rule = f"every {what} must have its {partner}, of the same id"
    remedy = f"Add the {partner}, remove the {what}, or correct the globs"
    return [
        Problem(path, rule, f"no {partner} with id {id_!r}", remedy)
        for id_, path in files.items()
        if id_ not in partners
    ]


def _problem(source: Path | None, rule: str, value: str, remedy: str) -> Problem:
    """What is wrong with the description itself, by its file or by the key of the config that holds it."""
    return Problem(source, rule if source else f"dataset.description: {rule}", value, remedy)


def _find_scenes(description: Description, source: Path | None, ids: list[str]) -> tuple[dict[str, str], list[Problem]]:
    """The scene of each id that has one."""
    if description.scene_regex is None:
        return {id_: id_ for id_ in ids}, []
    scenes: dict[str, str] = {}
    problems = []
    for id_ in ids:
        match = re.search(description.scene_regex, id_)
        scene = match and (match[1] if match.re.groups else match[0])
        if scene:
            scenes[id_] = scene
        else:
            rule = f"scene_regex {description.scene_regex!r} must find a scene in every id"
            problems.append(
                _problem(source, rule, repr(id_), "Correct it, or set it to null: each image its own scene")
            )
    return scenes, problems


def _split(
    description: Description, source: Path | None, root: Path, scenes: Mapping[str, str]
) -> tuple[dict[str, Split], list[Problem], list[str]]:
    """The split of each id that has one, problems and warnings."""
    rule = description.split
    if isinstance(rule, ListSplit):
        splits, problems = _split_by_list(rule, root, scenes)
    elif isinstance(rule, SceneSplit):
        splits, problems = _split_by_scene(rule, source, scenes)
    else:
        splits, problems = _split_by_share(rule, source, scenes)
    unused = sorted(set(scenes) - set(splits))
    if not unused or problems:
        return splits, problems, []
    return splits, problems, [f"{len(unused)} images are in no split and are not used ({name_some(unused)})."]


def _split_by_list(rule: ListSplit, root: Path, scenes: Mapping[str, str]) -> tuple[dict[str, Split], list[Problem]]:
    splits: dict[str, Split] = {}
    problems: list[Problem] = []
    named: list[tuple[str, str]] = []
    for split, listed in zip(SPLITS, (rule.train, rule.dev, rule.val), strict=True):
        file = root / listed if listed else None
        if file is None:
            continue
        fault = path_fault(file)
        if fault:
            problems.append(Problem(file, f"split.{split} must be a file of ids", fault, "Correct its path"))
            continue
        ids, unread = read_ids(file)
        problems += unread
        named += [(id_, f"{listed}") for id_ in ids]
        missing = [id_ for id_ in ids if id_ not in scenes]
        broken = f"each id of split.{split} must be one that the globs find"
        remedy = f"An id is what the wildcards match, for example {next(iter(scenes), 'a')!r}; correct the list"
        problems += [Problem(file, broken, repr(id_), remedy) for id_ in missing]
        splits |= {id_: split for id_ in ids if id_ in scenes}
    return splits, problems + repeated_ids(named)


def _split_by_scene(
    rule: SceneSplit, source: Path | None, scenes: Mapping[str, str]
) -> tuple[dict[str, Split], list[Problem]]:
    known = set(scenes.values())
    problems = []
    owners: dict[str, Split] = {}
    for split, names in zip(SPLITS, (rule.train, rule.dev, rule.val), strict=True):
        for name in names:
            if name not in known:
                remedy = f"The scenes are {name_some(sorted(known))}; correct split.{split} or scene_regex"
                problems.append(_problem(source, f"each scene of split.{split} must exist", repr(name), remedy))
            if owners.setdefault(name, split) != split:
                value = f"{name!r} in {owners[name]} and {split}"
                problems.append(_problem(source, "a scene must lie in one split", value, "Remove it from one of them"))
    return {id_: owners[scene] for id_, scene in scenes.items() if scene in owners}, problems


def _split_by_share(
    rule: ShareSplit, source: Path | None, scenes: Mapping[str, str]
) -> tuple[dict[str, Split], list[Problem]]:
    needed = 3 if rule.dev else 2
    if len(set(scenes.values())) < needed:
        remedy = "Correct scene_regex, or split by list"
        value = f"scenes {sorted(set(scenes.values()))}"
        few = _problem(source, f"split by share must have {needed} scenes or more", value, remedy)
        return {}, [few] if scenes else []
    images = Counter(scenes.values())
    val = draw_scenes(images, rule.val * len(scenes), rule.seed, leave=needed - 1)
    owners: dict[str, Split] = {scene: "val" if scene in val else "train" for scene in images}
    if rule.dev:
        left = {scene: count for scene, count in images.items() if scene not in val}
        for scene in draw_scenes(left, rule.dev * len(scenes), rule.seed):
            owners[scene] = "dev"
    return {id_: owners[scene] for id_, scene in scenes.items()}, []


def _empty_splits(source: Path | None, samples: tuple[Sample, ...]) -> list[Problem]:
    present = {sample.split for sample in samples}
    remedy = "Give it images in split"
    return [
        _problem(source, f"the {split} split must have an image", "none", remedy)
        for split in ("train", "val")
        if split not in present
    ]
