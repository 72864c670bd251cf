import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from aerosweep.cli import app
from trainable.data.checks.dataset_check import check_dataset
from trainable.data.dataset_config import DatasetConfig

TRAIN = ["a_0", "a_1", "b_0", "b_1"]
VAL = ["c_0", "c_1", "d_0", "e_0", "f_0", "g_0"]
IDS = [*TRAIN, *VAL]
SIZE = (24, 48)


def every_class():
    """A mask of squares of 2x2: 24 objects of each of the 12 classes, none touching another of its class."""
    rows, columns = np.indices(SIZE) // 2
    return ((5 * rows + columns) % 12).astype(np.uint8)


def picture(seed):
    """Smooth and unlike others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path) -> Path:
    """A sound set of two train scenes and five val scenes with all classes everywhere."""
    root = tmp_path / "set"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (root / folder).mkdir(parents=True)
    list_ids(root, "trn", TRAIN)
    list_ids(root, "val", VAL)
    for seed, id_ in enumerate(IDS):
        picture(seed).save(root / f"JPEGImages/{id_}.jpg")
        write_mask(root, id_, every_class())
    return root


def list_ids(root, name, ids):
    (root / f"ImageSets/{name}.txt").write_text("".join(f"{id_}\n" for id_ in ids))


def write_mask(root, id_, labels):
    Image.fromarray(np.asarray(labels, dtype=np.uint8)).save(root / f"SegmentationClass/{id_}.png")


def dataset(root: Path, dev_share: float = 0.5):
    return DatasetConfig(layout="aeroscapes", root=root, dev_share=dev_share)


def check(root: Path, dev_share: float = 0.5):
    return check_dataset(dataset(root, dev_share), root.parent / "cache").problems


def test_problems_come_before_warnings(root):
    (root / "JPEGImages/c_1.jpg").unlink()
    for id_ in IDS:
        write_mask(root, id_, np.full(SIZE, 10))
    found = check(root)
    assert [problem.warning for problem in found] == [False] + [True] * 11
    assert found[1].problem == "background: never occurs, so it has no score"


def test_progress_counts_every_sample(root):
    calls = []
    check_dataset(dataset(root), root.parent, lambda done, total: calls.append((done, total)))
    assert calls == [(done, 10) for done in range(1, 11)]


def test_ignored_masks_and_broken_descriptions(root):
    description = root.parent / "set.yaml"
    given = {
        "name": "s", "root": "set", "images": "JPEGImages/*.jpg", "masks": "SegmentationClass/*.png", "encoding": "ids",
        "classes": [{"name": str(i), "id": i} for i in range(12)], "ignored": [200], "scene_regex": "^[a-g]",
        "split": {"by": "scene", "train": ["a"], "dev": ["b"], "val": ["c", "d", "e", "f", "g"]},
    }  # fmt: skip
    description.write_text(yaml.safe_dump(given))
    write_mask(root, "a_1", np.full(SIZE, 200))
    config = DatasetConfig(layout="described", description=description)
    (found,) = check_dataset(config, root.parent).problems
    assert (found.warning, found.file) == (True, root / "SegmentationClass/a_1.png")
    assert found.value == "ignored pixels only"
    description.write_text(yaml.safe_dump(given | {"encoding": "png", "extra": 1}))
    problems = check_dataset(config, root.parent).problems
    assert len(problems) == 2
    assert not any(problem.warning for problem in problems)


def test_a_recompressed_copy_on_the_other_side_is_found_once_for_its_scenes(root):
    for of, id_ in (("a_0", "d_0"), ("a_1", "d_0"), ("b_0", "e_0")):
        image = Image.open(root / f"JPEGImages/{of}.jpg")
        image.save(root / f"JPEGImages/{id_}.jpg", quality=40)
    (found,) = check(root)
    assert found.warning
    assert found.rule == "images of different splits should not be near copies of each other"
    scenes = {"a": "dev", "b": "train"} if "scene a (dev)" in found.value else {"a": "train", "b": "dev"}
    assert f"1 of scene a ({scenes['a']}) and scene d (val), the closest a_1.jpg and d_0.jpg with " in found.value
    assert f"1 of scene b ({scenes['b']}) and scene e (val), the closest b_0.jpg and e_0.jpg with " in found.value
    assert found.value.startswith("2 pairs: ")
    assert "scene_regex" in found.remedy


def test_many_copies_are_a_few_names(root):
    copy = Image.open(root / "JPEGImages/a_0.jpg")
    for quality, id_ in enumerate(VAL, 40):
        copy.save(root / f"JPEGImages/{id_}.jpg", quality=quality)
    (found,) = check(root)
    assert found.value.startswith("6 pairs: 2 of scene a (")
    assert found.value.endswith("; and 2 more pairs of scenes")


def test_copies_inside_one_split_are_no_concern(root):
    shutil.copy(root / "JPEGImages/c_0.jpg", root / "JPEGImages/g_0.jpg")
    assert check(root) == []


def test_a_val_of_few_scenes_is_one_warning_whatever_its_classes(root):
    list_ids(root, "val", ["c_0", "c_1", "d_0", "e_0", "f_0"])
    (found,) = check(root)
    assert found.problem == (
        "val should have 5 scenes or more; got 4: no interval is possible, and the confirmation will say so"
    )


def test_classes_of_few_val_scenes_are_listed_in_one_warning(root):
    mask = every_class()
    mask[mask == 3] = 0
    write_mask(root, "d_0", mask)
    mask[mask == 11] = 0
    write_mask(root, "e_0", mask)
    (found,) = check(root)
    assert found.problem == "a class should lie in 5 scenes of val or more; got car (3), sky (4)"
    assert "No interval is possible" in found.remedy


def test_things_of_few_objects_in_dev_are_listed_in_one_warning(root):
    """Nine cars of four pixels; one of three is none. The one piece of road is no thing."""
    mask = every_class()
    mask[np.isin(mask, (3, 10))] = 0
    for column in range(0, 36, 4):
        mask[0:2, column : column + 2] = 3
    mask[4, 0:3] = 3
    mask[8:10, 0:2] = 10
    for id_ in TRAIN:
        write_mask(root, id_, mask if id_.endswith("0") else np.zeros(SIZE))
    (found,) = check(root)
    assert found.problem == "a thing class should have 10 objects in dev or more; got car (9)"


def test_scenes_and_objects_are_counted_by_split(root):
    write_mask(root, "d_0", np.zeros(SIZE))
    counts = check_dataset(dataset(root), root.parent / "cache").counts
    assert counts.scenes == {"train": 1, "dev": 1, "val": 5}
    assert counts.class_scenes["val"].tolist() == [5] + [4] * 11
    assert counts.class_scenes["dev"].tolist() == [1] * 12
    things = [label for label in range(12) if counts.class_objects["val"][label]]
    assert tuple(things) == counts.thing_labels
    assert {int(counts.class_objects["val"][label]) for label in things} == {5 * 24}
    assert {int(counts.class_objects["dev"][label]) for label in things} == {2 * 24}


def test_the_command_prints_the_counts_and_the_warnings(root):
    picture(0).save(root / "JPEGImages/d_0.jpg", quality=40)
    arguments = [
        "--set",
        "dataset.layout=aeroscapes",
        "--set",
        f"dataset.root={root}",
        "--set",
        "dataset.dev_share=0.5",
    ]
    result = CliRunner().invoke(app, ["data", "check", *arguments], env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exit_code == 0, result.output
    assert re.search(r"of 1 scn +of 1 scn +of 5 scn +obj +obj +obj", result.stdout)
    assert re.search(r"car +1 +1 +5 +48 +48 +144\b", result.stdout)
    assert re.search(r"road +1 +1 +5 *\n", result.stdout)
    assert re.search(
        r"warning: images of different splits.* and d_0\.jpg with \d of 128 bits different\.", result.stdout
    )
    assert result.stdout.endswith("0 problems, 1 warning\n")
