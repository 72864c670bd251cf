import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from analysis.evidence.class_shares import tabulate_class_shares
from trainable.data.checks.dataset_check import check_dataset
from trainable.data.checks.near_duplicates import find_scene_pairs, hash_image
from trainable.data.dataset_config import DatasetConfig
from trainable.data.files.masks import decode_mask, decode_pair
from trainable.data.layouts.aeroscapes import read_aeroscapes
from trainable.data.read_image_set import read_image_set
from trainable.data.scene_split import choose_dev_scenes

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("AEROSWEEP_TEST_DATA", REPOSITORY.parent / "shared" / "data"))

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder {DATA}; set AEROSWEEP_TEST_DATA to the real images"),
]


@pytest.fixture
def aeroscapes_pair(tmp_path) -> Path:
    """The genuine pair as a set of two images: once with and once without a sequence in its id."""
    root = tmp_path / "pair"
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (root / folder).mkdir(parents=True)
        for id_ in ("000000_001", "alone"):
            (root / folder / f"{id_}{suffix}").symlink_to(DATA / "aeroscapes_pair" / folder / f"000000_001{suffix}")
    (root / "ImageSets").mkdir()
    (root / "ImageSets/trn.txt").write_text("000000_001\n")
    (root / "ImageSets/val.txt").write_text("alone\n")
    return root


@pytest.fixture(scope="module")
def dubai():
    config = DatasetConfig(
        layout="described", description=REPOSITORY / "examples/dubai_tiles.yaml", root=DATA / "dubai"
    )
    return config, read_image_set(config, Path("unused"))


def test_the_aeroscapes_pair_has_the_shares_that_its_bytes_say(aeroscapes_pair):
    image_set = read_aeroscapes(aeroscapes_pair)
    image, labels = decode_pair(image_set.samples[0], image_set.encoding)
    assert image.shape == (720, 1280, 3)
    with Image.open(DATA / "aeroscapes_pair/SegmentationClass/000000_001.png") as mask:
        independent = Counter(mask.tobytes())
    assert set(independent) <= set(range(12))
    assert Counter(labels.ravel().tolist()) == independent
    counts = np.array([[independent[label] for label in range(12)]])
    names = [entry.name for entry in image_set.classes]
    table = tabulate_class_shares(counts, {"train": [0]}, ["000000"], names).set_index("class")
    assert table.loc["sky", "pixel_share"] == pytest.approx(400047 / 921600)
    assert table.loc["car", "pixels"] == 138


def test_an_aeroscapes_like_id_without_a_sequence_warns(aeroscapes_pair):
    image_set = read_aeroscapes(aeroscapes_pair)
    assert {sample.id: sample.scene for sample in image_set} == {"000000_001": "000000", "alone": "alone"}
    assert "1 ids are not of the form SEQUENCE_FRAME (alone)" in image_set.warnings[0]


def test_dubai_pairs_by_tile(dubai):
    _, image_set = dubai
    assert len(image_set) == 72
    assert Counter(sample.split for sample in image_set) == {"train": 45, "dev": 9, "val": 18}
    assert {sample.scene for sample in image_set} == {f"Tile {i}" for i in range(1, 9)}
    assert image_set.samples[0].id == "Tile 1/image_part_001"
    assert image_set.warnings == ()


def test_dubai_palette_masks_are_read_as_colors_and_shares_are_as_published(dubai):
    _, image_set = dubai
    totals, palettes = np.zeros(256, dtype=np.int64), 0
    for sample in image_set:
        with Image.open(sample.mask) as mask:
            palettes += mask.mode == "P"
        totals += np.bincount(decode_mask(sample.mask, image_set.encoding).ravel(), minlength=256)
    assert palettes == 18
    shares = 100 * totals / totals.sum()
    expected = {"building": 13.3, "land": 52.4, "road": 9.4, "vegetation": 10.3, "water": 13.6}
    found = {entry.name: shares[label] for label, entry in enumerate(image_set.classes)}
    assert found == pytest.approx(expected, abs=0.06)
    assert shares[255] == pytest.approx(0.5 + 0.6, abs=0.1)


def test_dubai_has_no_problem_but_few_scenes(dubai):
    config, _ = dubai
    check = check_dataset(config, Path("unused"))
    assert [(problem.warning, problem.value[:2]) for problem in check.problems] == [(True, "2:")]
    assert check.counts is not None
    assert check.counts.scenes == {"train": 5, "dev": 1, "val": 2}
    assert check.counts.class_scenes["train"].tolist() == [5] * 5


def views(path: Path, right: float) -> list[NDArray[np.uint64]]:
    """Hashes of two views of an image, three quarters of its size and that share of their width apart."""
    with Image.open(path) as image:
        width, height = (round(0.75 * side) for side in image.size)
        lefts = (round(0.05 * image.width), round(0.05 * image.width + right * width))
        return [hash_image(np.asarray(image.crop((left, 0, left + width, height)))) for left in lefts]


def test_neighbouring_views_of_real_images_are_near_copies_and_other_scenes_are_not(dubai):
    """Dubai's images differ in much more than a flight's frames: some of them, of water, tell too little."""
    _, image_set = dubai
    pairs = [views(sample.image, 0.015) for sample in image_set]
    first, second = (np.stack(hashes) for hashes in zip(*pairs, strict=True))
    scenes = [f"{i}" for i in range(len(pairs))]
    split = {"train": range(len(pairs)), "val": range(len(pairs), 2 * len(pairs))}
    found = find_scene_pairs(np.concatenate([first, second]), split, [*scenes, *scenes])
    assert len(found) >= 0.95 * len(pairs)
    assert all(pair.scenes[0] == pair.scenes[1] for pair in found)


def test_neighbouring_views_of_the_aeroscapes_frame_are_near_copies():
    for right in (0.01, 0.03, 0.05):
        first, second = views(DATA / "aeroscapes_pair/JPEGImages/000000_001.jpg", right)
        assert len(find_scene_pairs(np.stack([first, second]), {"train": [0], "val": [1]}, ["a", "b"])) == 1


def test_the_published_split_gives_a_dev_of_whole_sequences_with_every_class():
    def scenes(name: str) -> list[str]:
        return [line.rsplit("_", 1)[0] for line in (DATA / "aeroscapes_splits" / name).read_text().split()]

    train, val = scenes("trn.txt"), scenes("val.txt")
    assert (len(train), len(val), len(set(train)), len(set(val))) == (2621, 648, 106, 35)
    assert not set(train) & set(val)
    image_shares = [1, 0.794, 0.387, 0.307, 0.125, 0.02, 0.031, 0.658, 0.529, 0.913, 0.858, 0.159]
    random = np.random.default_rng(3)
    holds = {scene: random.random(12) < image_shares for scene in sorted(set(train))}
    counts = np.array([holds[scene] * random.integers(1, 5000, 12) for scene in train])
    choice = choose_dev_scenes(train, counts, 0.15, seed=0)
    dev = np.isin(train, choice.dev_scenes)
    assert dev.mean() == pytest.approx(0.15, abs=0.01)
    occurs = {label: sum(held[label] for held in holds.values()) for label in range(12)}
    for label, count in occurs.items():
        assert (counts[dev, label].any() and counts[~dev, label].any()) == (count >= 2)
    assert len(choice.warnings) == sum(count == 1 for count in occurs.values())
