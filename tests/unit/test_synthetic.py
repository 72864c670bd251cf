import hashlib

import numpy as np
import pytest

from trainable.data.files.masks import decode_mask, decode_pair
from trainable.data.layouts.aeroscapes import read_aeroscapes
from trainable.data.scene_split import assign_splits
from trainable.data.synthetic.scene_plan import IMAGE_SHARES, LABELS, PIXEL_SHARES, plan_scenes
from trainable.data.synthetic.synthesize import synthesize


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """200 images, their set and the pixels of each class in each."""
    folder = tmp_path_factory.mktemp("synthetic")
    synthesize(folder, 200, (96, 160), seed=11)
    image_set = read_aeroscapes(folder)
    pairs = [decode_pair(sample, image_set.encoding) for sample in image_set]
    counts = np.stack([np.bincount(labels.ravel(), minlength=12) for _, labels in pairs])
    return image_set, pairs, counts


def digest(folder) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.*")
    }


@pytest.mark.parametrize("name", sorted(PIXEL_SHARES))
def test_class_shares_are_those_of_aeroscapes(made, name):
    _, _, counts = made
    label = LABELS[name]
    pixel_share = counts[:, label].sum() / counts.sum()
    assert pixel_share == pytest.approx(PIXEL_SHARES[name], rel=0.15)
    assert (counts[:, label] > 0).mean() == pytest.approx(IMAGE_SHARES[name], abs=0.05)


def test_boat_never_occurs_and_a_drone_is_a_handful_of_pixels(made):
    _, pairs, counts = made
    assert counts[:, LABELS["boat"]].sum() == 0
    areas = [area for _, labels in pairs for area in blobs(labels == LABELS["drone"])]
    assert len(areas) >= 25
    assert np.median(areas) <= 12


def blobs(mask: np.ndarray) -> list[int]:
    """Areas of the 8-connected regions of a mask, by flooding."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    areas = []
    while left:
        todo, area = [left.pop()], 1
        while todo:
            row, column = todo.pop()
            near = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            area += len(near)
            todo += near
        areas.append(area)
    return areas


def test_scenes_are_whole_and_dev_can_be_chosen(made):
    image_set, _, counts = made
    scenes = {sample.scene for sample in image_set}
    assert 8 <= len(scenes) <= 16
    for label in LABELS.values():
        having = {(sample.scene, sample.split) for sample, row in zip(image_set, counts, strict=True) if row[label]}
        if label != LABELS["boat"]:
            assert sum(split == "train" for _, split in having) >= 3
            assert any(split == "val" for _, split in having)
    assigned = assign_splits(image_set, counts, 0.15, seed=0)
    assert assigned.warnings == ("boat: never occurs, so it has no score.",)


def test_frames_of_a_scene_are_near_copies(made):
    image_set, pairs, _ = made
    same, other = [], []
    for (a, (_, first)), (b, (_, second)) in zip(
        zip(image_set, pairs, strict=True), list(zip(image_set, pairs, strict=True))[1:], strict=False
    ):
        (same if a.scene == b.scene else other).append((first == second).mean())
    assert np.mean(same) > 0.75
    assert np.mean(same) - np.mean(other) > 0.25


def test_classes_are_told_by_color_across_scenes(made):
    """Frequencies of coarse colours in train name most pixels of every class in val."""
    image_set, pairs, _ = made
    codes = {"train": [], "val": []}
    for sample, (image, mask) in zip(image_set, pairs, strict=True):
        red, green, blue = (image >> 4).astype(int).transpose(2, 0, 1)
        codes[sample.split].append(((red << 8 | green << 4 | blue) * 12 + mask).ravel())
    frequency, seen = (np.bincount(np.concatenate(codes[split]), minlength=4096 * 12) for split in ("train", "val"))
    frequency, seen = (counts.reshape(4096, 12).astype(float) for counts in (frequency, seen))
    named = (frequency / np.maximum(1, frequency.sum(axis=0))).argmax(axis=1)
    for label in set(LABELS.values()) - {LABELS["boat"]}:
        assert seen[named == label, label].sum() / seen[:, label].sum() > 0.5, label


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_jobs(tmp_path):
    for name, seed, jobs in (("a", 3, 1), ("b", 3, 2), ("c", 4, 1)):
        synthesize(tmp_path / name, 40, (64, 80), seed, jobs)
    first = digest(tmp_path / "a")
    assert len(first) == 82
    assert digest(tmp_path / "b") == first
    assert digest(tmp_path / "c") != first


def test_other_sizes_keep_the_shares(tmp_path):
    synthesize(tmp_path, 40, (180, 200), seed=0)
    image_set = read_aeroscapes(tmp_path)
    labels = np.concatenate([decode_mask(sample.mask, image_set.encoding).ravel() for sample in image_set])
    shares = np.bincount(labels, minlength=12) / len(labels)
    assert len(labels) == 40 * 180 * 200
    assert shares[LABELS["drone"]] == pytest.approx(PIXEL_SHARES["drone"], rel=0.2)
    assert shares[LABELS["sky"]] == pytest.approx(PIXEL_SHARES["sky"], rel=0.2)


@pytest.mark.parametrize("images", [40, 47, 120, 333, 1000])
def test_plans_hold_every_image_and_add_up(images):
    for seed in range(5):
        plans = plan_scenes(images, (96, 160), seed)
        assert sum(plan.frames for plan in plans) == images
        assert {plan.split for plan in plans} == {"train", "val"}
        for plan in plans:
            assert sum(plan.ground.values()) == pytest.approx(1)
            assert plan.sky.max() <= 0.6
        for name in PIXEL_SHARES:
            owners = [p for p in plans if name in p.ground or name in p.things or (name == "sky" and p.sky.any())]
            assert sum(plan.split == "train" for plan in owners) >= 3
            assert sum(plan.split == "val" for plan in owners) >= 1


@pytest.mark.parametrize("imbalance", [0.5, 1.0, 3.0])
def test_imbalance_divides_the_pixels_and_the_images_of_things_and_scenes_are_as_many_as_asked(imbalance):
    plans = plan_scenes(240, (192, 320), seed=3, scenes=24, imbalance=imbalance)
    assert len(plans) == 24
    assert sum(plan.split == "val" for plan in plans) == 6
    for name in ("person", "car", "bike"):
        frames = np.concatenate([plan.things.get(name, np.zeros(plan.frames)) for plan in plans])
        assert frames.mean() / (192 * 320) == pytest.approx(PIXEL_SHARES[name] / imbalance, rel=0.15)
        assert (frames > 0).mean() == pytest.approx(min(1.0, IMAGE_SHARES[name] / imbalance), abs=0.06)


def test_without_a_wish_the_set_is_the_one_it_always_was(tmp_path):
    synthesize(tmp_path / "plain", 40, (64, 80), 2)
    synthesize(tmp_path / "said", 40, (64, 80), 2, scenes=8, imbalance=1.0)
    for path in (tmp_path / "plain").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "said" / path.relative_to(tmp_path / "plain")).read_bytes()
