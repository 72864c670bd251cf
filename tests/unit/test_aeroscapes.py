import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainable.data.layouts.aeroscapes import AEROSCAPES_CLASSES, read_aeroscapes, scan_aeroscapes
from trainable.errors import InputError


def write_set(root: Path, train: list[str], val: list[str]) -> Path:
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, ids in (("trn", train), ("val", val)):
        (root / "ImageSets" / f"{name}.txt").write_text("".join(f"{id_}\n" for id_ in ids))
    for id_ in train + val:
        Image.fromarray(np.full((4, 6, 3), 90, np.uint8)).save(root / "JPEGImages" / f"{id_}.jpg")
        Image.fromarray(np.full((4, 6), 10, np.uint8)).save(root / "SegmentationClass" / f"{id_}.png")
    return root


def test_classes_are_in_label_order_with_seven_things():
    names = [
        "background",
        "person",
        "bike",
        "car",
        "drone",
        "boat",
        "animal",
        "obstacle",
        "construction",
        "plant",
        "road",
        "sky",
    ]
    assert [entry.name for entry in AEROSCAPES_CLASSES] == names
    assert [label for label, entry in enumerate(AEROSCAPES_CLASSES) if entry.thing] == [1, 2, 3, 4, 5, 6, 7]
    assert AEROSCAPES_CLASSES[3].color == (152, 78, 163)


def test_reads_samples_sorted_with_scene_and_split(tmp_path):
    image_set = read_aeroscapes(write_set(tmp_path / "set", ["b_002", "b_001", "a_x_001"], ["c_001"]))
    assert [(s.id, s.scene, s.split) for s in image_set] == [
        ("a_x_001", "a_x", "train"),
        ("b_001", "b", "train"),
        ("b_002", "b", "train"),
        ("c_001", "c", "val"),
    ]
    assert image_set.samples[1].image == tmp_path / "set/JPEGImages/b_001.jpg"
    assert image_set.samples[1].mask == tmp_path / "set/SegmentationClass/b_001.png"
    assert image_set.encoding.ids == {label: label for label in range(12)}
    assert (image_set.name, image_set.warnings) == ("set", ())


def test_ids_without_a_sequence_are_scenes_of_their_own_with_a_warning(tmp_path):
    image_set = read_aeroscapes(write_set(tmp_path, ["one", "two", "three", "four", "s_1"], ["five"]))
    assert {sample.id: sample.scene for sample in image_set}["two"] == "two"
    assert len(image_set.warnings) == 1
    assert image_set.warnings[0].startswith("5 ids are not of the form SEQUENCE_FRAME (five, four, one and 2 more)")


def test_missing_files_are_named_up_to_a_few(tmp_path):
    root = write_set(tmp_path, [f"a_{i}" for i in range(6)], ["b_0"])
    for i in range(5):
        (root / f"SegmentationClass/a_{i}.png").unlink()
    with pytest.raises(InputError) as refusal:
        read_aeroscapes(root)
    message = str(refusal.value)
    assert "each id of ImageSets/trn.txt must have" in message
    assert "a_0.png: no such file" in message
    assert "and 2 more" in message
    assert "a_3.png" not in message
    assert message.endswith("Add the file or take its id out of ImageSets/trn.txt.")


def test_all_problems_are_found_in_one_scan(tmp_path):
    root = write_set(tmp_path, ["a_0", "a_1", "a_1", "b_0"], ["b_1", "a_0"])
    (root / "JPEGImages/b_0.jpg").unlink()
    image_set, problems = scan_aeroscapes(root)
    found = [problem.problem for problem in problems]
    assert [sample.id for sample in image_set] == ["a_0", "a_1", "b_1"]
    assert any("an id must occur once in one list; got a_1 2 times" in text for text in found)
    assert any("got a_0 2 times" in text for text in found)
    assert any("a scene must lie in one split" in text and "scene b in train and val" in text for text in found)
    assert [problem.file for problem in problems if problem.value == "no such file"] == [root / "JPEGImages/b_0.jpg"]


@pytest.mark.parametrize("missing", ["JPEGImages", "SegmentationClass", "ImageSets"])
def test_a_missing_folder_is_named(tmp_path, missing):
    for folder in {"JPEGImages", "SegmentationClass", "ImageSets"} - {missing}:
        (tmp_path / folder).mkdir()
    with pytest.raises(InputError, match=f"{missing}: no such folder. Point dataset.root"):
        read_aeroscapes(tmp_path)


def test_the_error_survives_a_process_boundary(tmp_path):
    with pytest.raises(InputError) as refusal:
        read_aeroscapes(tmp_path / "nowhere")
    copy = pickle.loads(pickle.dumps(refusal.value))
    assert str(copy) == str(refusal.value)
    assert copy.problem == refusal.value.problem
