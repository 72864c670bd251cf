import numpy as np
import pytest

from analysis.evidence.class_shares import tabulate_class_shares

COUNTS = np.array([[6, 4, 0], [10, 0, 0], [9, 1, 0], [20, 0, 5]])
SCENES = ["a", "a", "b", "c"]


def test_counts_and_shares_by_split():
    table = tabulate_class_shares(COUNTS, {"train": [0, 1, 2], "val": [3]}, SCENES, ["road", "car", "sky"])
    assert table.columns.tolist() == [
        "split", "label", "class", "pixels", "pixel_share", "images", "image_share", "scenes", "scene_share",
    ]  # fmt: skip
    assert table["split"].tolist() == ["train"] * 3 + ["val"] * 3
    assert table["pixels"].tolist() == [25, 5, 0, 20, 0, 5]
    assert table["pixel_share"].tolist() == pytest.approx([25 / 30, 5 / 30, 0, 0.8, 0, 0.2])
    assert table["images"].tolist() == [3, 2, 0, 1, 0, 1]
    assert table["image_share"].tolist() == pytest.approx([1, 2 / 3, 0, 1, 0, 1])
    assert table["scenes"].tolist() == [2, 2, 0, 1, 0, 1]
    assert table["scene_share"].tolist() == pytest.approx([1, 1, 0, 1, 0, 1])


def test_shares_of_an_empty_split_are_not_a_number():
    table = tabulate_class_shares(COUNTS, {"train": [0, 1, 2, 3], "dev": []}, SCENES, ["road", "car", "sky"])
    dev = table[table["split"] == "dev"]
    assert dev["pixels"].tolist() == [0, 0, 0]
    assert dev[["pixel_share", "image_share", "scene_share"]].isna().all().all()
