from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from trainable.dataset_check import check_dataset
from trainable.dataset_config import DatasetConfig

IDS = ["a_0", "a_1", "b_0", "b_1", "c_0", "c_1"]


@pytest.fixture
def root(tmp_path) -> Path:
    """A sound set of two train scenes and a val scene with all classes everywhere."""
    root = tmp_path / "set"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/trn.txt").write_text("a_0\na_1\nb_0\nb_1\n")
    (root / "ImageSets/val.txt").write_text("c_0\nc_1\n")
    for id_ in IDS:
        Image.new("RGB", (6, 4)).save(root / f"JPEGImages/{id_}.jpg")
        Image.fromarray((np.arange(24, dtype=np.uint8) % 12).reshape(4, 6)).save(root / f"SegmentationClass/{id_}.png")
    return root


def check(root: Path, dev_share: float = 0.5):
    return check_dataset(DatasetConfig(layout="aeroscapes", root=root, dev_share=dev_share), root.parent / "cache")


def test_a_sound_set_has_nothing_to_say(root):
    assert check(root) == []


def test_every_problem_is_found_in_one_pass(root):
    Image.new("L", (6, 4)).save(root / "JPEGImages/a_0.jpg")
    (root / "JPEGImages/a_1.jpg").write_bytes(b"junk")
    Image.new("L", (5, 4)).save(root / "SegmentationClass/b_0.png")
    Image.fromarray(np.full((4, 6), 77, np.uint8)).save(root / "SegmentationClass/b_1.png")
    (root / "SegmentationClass/c_0.png").unlink()
    Image.new("RGB", (6, 4)).save(root / "SegmentationClass/c_1.png")
    (root / "ImageSets/val.txt").write_text("c_0\nc_1\nc_1\nb_1\n")
    found = {(problem.file and problem.file.name, problem.problem) for problem in check(root) if not problem.warning}
    assert found == {
        ("a_0.jpg", "an image must be 8-bit RGB; got mode L"),
        ("a_1.jpg", f"an image must be decodable; got cannot identify image file {str(root / 'JPEGImages/a_1.jpg')!r}"),
        ("b_0.png", "an image and its mask must have one size; got image 4x6, mask 4x5 (height x width)"),
        ("b_1.png", "each value of a mask must be a class's or ignored; got id 77 (24 pixels)"),
        (
            "c_0.png",
            "each id of ImageSets/val.txt must have JPEGImages/ID.jpg and SegmentationClass/ID.png; got no such file",
        ),
        ("c_1.png", "a mask of ids must have one channel of 8 or 16 bits (mode L, P or I;16); got mode RGB"),
        (None, "an id must occur once in one list; got c_1 2 times"),
        (None, "an id must occur once in one list; got b_1 2 times"),
        (None, "a scene must lie in one split, because its images are near copies; got scene b in train and val"),
    }
    assert all(problem.remedy for problem in check(root) if not problem.warning)


def test_problems_come_before_warnings(root):
    (root / "JPEGImages/c_1.jpg").unlink()
    for id_ in IDS:
        Image.fromarray(np.full((4, 6), 10, np.uint8)).save(root / f"SegmentationClass/{id_}.png")
    found = check(root)
    assert [problem.warning for problem in found] == [False] + [True] * 11
    assert found[1].problem == "background: never occurs, so it has no score"


def test_one_scene_in_train_is_a_problem(root):
    (root / "ImageSets/trn.txt").write_text("a_0\na_1\n")
    assert [problem.rule for problem in check(root)] == [
        "train must have two scenes or more for dev to be chosen from them"
    ]


def test_progress_counts_every_sample(root):
    calls = []
    config = DatasetConfig(layout="aeroscapes", root=root)
    check_dataset(config, root.parent, lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_a_turned_image_is_a_warning(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(root / "JPEGImages/a_0.jpg", exif=exif)
    (found,) = check(root)
    assert found.warning
    assert "EXIF orientation is not applied; got orientation 6" in found.problem


def test_ignored_masks_and_broken_descriptions(root):
    description = root.parent / "set.yaml"
    given = {
        "name": "s", "root": "set", "images": "JPEGImages/*.jpg", "masks": "SegmentationClass/*.png", "encoding": "ids",
        "classes": [{"name": str(i), "id": i} for i in range(12)], "ignored": [200], "scene_regex": "^[abc]",
        "split": {"by": "scene", "train": ["a"], "dev": ["b"], "val": ["c"]},
    }  # fmt: skip
    description.write_text(yaml.safe_dump(given))
    Image.fromarray(np.full((4, 6), 200, np.uint8)).save(root / "SegmentationClass/a_1.png")
    config = DatasetConfig(layout="described", description=description)
    (found,) = check_dataset(config, root.parent)
    assert (found.warning, found.file) == (True, root / "SegmentationClass/a_1.png")
    assert found.value == "ignored pixels only"
    description.write_text(yaml.safe_dump(given | {"encoding": "png", "extra": 1}))
    problems = check_dataset(config, root.parent)
    assert len(problems) == 2
    assert not any(problem.warning for problem in problems)


def test_a_missing_root_is_one_problem(tmp_path):
    (found,) = check(tmp_path / "nowhere")
    assert (found.file, found.value, found.warning) == (tmp_path / "nowhere", "no such folder", False)
