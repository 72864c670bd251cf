from pathlib import Path

import numpy as np
import pytest

from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding, Sample
from trainable.data.scene_split import assign_splits, choose_dev_scenes, draw_scenes
from trainable.errors import InputError


def image_set(*rows: tuple[str, str]) -> ImageSet:
    samples = tuple(Sample(f"{i}", Path("i"), Path("m"), scene, split) for i, (scene, split) in enumerate(rows))
    classes = tuple(LabelClass(name, (0, 0, 0), False) for name in ("road", "car"))
    return ImageSet("set", classes, MaskEncoding("ids", ids={0: 0, 1: 1}), samples)


def test_both_classes_lie_on_both_sides():
    # car is in a and d only, so that dev must have one of them and train the other
    scenes = ["a", "a", "b", "c", "d", "e", "f", "g"]
    counts = np.array([[5, 1], [5, 0], [5, 0], [5, 0], [5, 9], [5, 0], [5, 0], [5, 0]])
    choice = choose_dev_scenes(scenes, counts, 0.13, seed=1)
    assert choice.dev_scenes in {("a",), ("d",)}
    assert choice.warnings == ()


def test_a_class_of_one_scene_stays_in_train_and_is_named():
    counts = np.array([[5, 0], [5, 0], [5, 3], [5, 0]])
    choice = choose_dev_scenes(["a", "b", "c", "d"], counts, 0.25, seed=0, class_names=["road", "car"])
    assert "c" not in choice.dev_scenes
    assert choice.warnings == (
        "car: occurs in one train scene only, which stays in train, so that the search cannot tune on it.",
    )


def test_conflicting_classes_are_named():
    # Three classes on the three edges of a triangle of scenes: no two sides can have all of them.
    counts = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
    choice = choose_dev_scenes(["a", "b", "c"], counts, 0.3, seed=0, class_names=["x", "y", "z"])
    assert len(choice.dev_scenes) == 1
    assert len(choice.warnings) == 1
    name = {"a": "y", "b": "z", "c": "x"}[choice.dev_scenes[0]]
    assert choice.warnings[0].startswith(f"{name}: lies in train only")


def test_a_lone_class_gives_way_when_others_need_its_scene():
    # Class 0 needs a or b in dev; both have a class of their own.
    counts = np.array([[1, 1, 0], [1, 0, 1], [0, 0, 0]])
    choice = choose_dev_scenes(["a", "b", "c"], counts, 0.3, seed=0)
    assert choice.dev_scenes in {("a",), ("b",)}
    taken = [warning for warning in choice.warnings if "had to go to dev" in warning]
    assert len(taken) == 1


def test_a_share_that_whole_scenes_cannot_reach_is_said():
    counts = np.ones((11, 1), dtype=np.int64)
    choice = choose_dev_scenes(["a"] * 5 + ["b"] * 6, counts, 0.1, seed=0)
    assert choice.dev_scenes == ("a",)
    assert choice.warnings[0].startswith("dev has 45% of the train images where dev_share asks for 10%")


def test_rare_classes_get_about_their_share_of_pixels():
    scenes = [f"{i:02d}" for i in range(20)]
    counts = np.ones((20, 2), dtype=np.int64) * 100
    counts[:, 1] = 0
    counts[[0, 1], 1] = 1000, 10  # a dev with scene 00 would take nearly all
    choice = choose_dev_scenes(scenes, counts, 0.2, seed=5)
    assert "01" in choice.dev_scenes
    assert "00" not in choice.dev_scenes
    assert len(choice.dev_scenes) == 4


def test_one_scene_is_refused_with_a_remedy():
    with pytest.raises(InputError, match=r"two scenes or more .* got 1 \(only\). Give the set a dev split"):
        choose_dev_scenes(["only"] * 3, np.ones((3, 2), dtype=np.int64), 0.2, seed=0)


def test_assign_splits_moves_whole_scenes_from_train_to_dev():
    rows = [("a", "train"), ("b", "train"), ("v", "val"), ("a", "train"), ("c", "train")]
    found = assign_splits(image_set(*rows), np.ones((5, 2), dtype=np.int64), 0.25, seed=0)
    assert found.val == (2,)
    assert found.dev in {(1,), (4,)}
    assert sorted(found.train + found.dev) == [0, 1, 3, 4]
    assert found.warnings == ()


def test_assign_splits_keeps_a_dev_that_is_given():
    rows = [("a", "train"), ("b", "dev"), ("v", "val")]
    found = assign_splits(image_set(*rows), np.array([[1, 0], [1, 2], [1, 0]]), 0.9, seed=0)
    assert (found.train, found.dev, found.val) == ((0,), (1,), (2,))
    assert found.warnings == (
        "car: does not occur in train and is not learned.",
        "car: does not occur in val and has no final score.",
    )


def test_assign_splits_names_a_class_that_never_occurs_once():
    rows = [("a", "train"), ("b", "dev"), ("v", "val")]
    found = assign_splits(image_set(*rows), np.array([[1, 0]] * 3), 0.9, seed=0)
    assert found.warnings == ("car: never occurs, so it has no score.",)


@pytest.mark.parametrize("missing", ["train", "val"])
def test_assign_splits_refuses_an_empty_split(missing):
    rows = [("a", "val" if missing == "train" else "train"), ("b", "dev")]
    with pytest.raises(InputError, match=f"the {missing} split must have an image"):
        assign_splits(image_set(*rows), np.ones((2, 2), dtype=np.int64), 0.2, seed=0)


def test_draw_scenes_leaves_some_and_draws_one_at_least():
    images = {"a": 10, "b": 10, "c": 10, "d": 10}
    assert len(draw_scenes(images, 20, seed=0)) == 2
    assert len(draw_scenes(images, 1000, seed=0, leave=2)) == 2
    assert draw_scenes({"big": 50, "small": 3}, 1, seed=0) == ("small",)
