"""What a search learns from is recognised, and what has changed in it is named."""

import shutil

import numpy as np
import pytest

from trainable.data.data_identity import DataChangedError, DataIdentity, SampleIdentity, require_same_data
from trainable.data.dataset_config import DatasetConfig
from trainable.data.read_image_set import read_image_set
from trainable.data.synthetic.synthesize import synthesize
from trainable.data.trial_data import open_trial_data
from trainable.record.storage import Storage


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "set"
    synthesize(folder, 24, (32, 32), 0, scenes=8)
    return folder


@pytest.fixture
def identify(root, tmp_path):
    """The identity of the set as it lies there now."""
    config = DatasetConfig(layout="aeroscapes", root=root, dev_share=0.3)
    return lambda: DataIdentity.of(open_trial_data(config, tmp_path / "cache"))


@pytest.fixture
def search(tmp_path):
    return Storage(str(tmp_path / "search"))


def first_id(root, split="trn"):
    return (root / "ImageSets" / f"{split}.txt").read_text().split()[0]


def test_a_set_is_the_same_after_its_files_were_touched_and_noted_in_a_folder(root, identify, search):
    before = identify()
    (root / "JPEGImages" / f"{first_id(root)}.jpg").touch()
    before.write(search)
    require_same_data(search, before.fingerprint, identify())
    assert DataIdentity.read(search, before.fingerprint) == before
    assert len(before.samples) == 24


def test_another_mask_an_image_that_is_gone_and_one_that_is_new_are_named(root, identify, search):
    before = identify()
    before.write(search)
    changed, gone = (root / "ImageSets" / "trn.txt").read_text().split()[:2]
    other = first_id(root, "val")
    shutil.copy(root / "SegmentationClass" / f"{other}.png", root / "SegmentationClass" / f"{changed}.png")
    ids = (root / "ImageSets" / "trn.txt").read_text().replace(f"{gone}\n", "new_001\n")
    (root / "ImageSets" / "trn.txt").write_text(ids)
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        shutil.copy(root / folder / f"{other}.{suffix}", root / folder / f"new_001.{suffix}")
    with pytest.raises(DataChangedError) as error:
        require_same_data(search, before.fingerprint, identify())
    assert f"1 sample with another image or mask ({changed})" in str(error.value)
    assert f"1 sample gone ({gone})" in str(error.value)
    assert "1 sample added (new_001)" in str(error.value)
    assert "Put the files back" in str(error.value)


def test_a_scene_that_moved_to_the_other_split_is_named(root, identify, search):
    before = identify()
    before.write(search)
    train, val = ((root / "ImageSets" / f"{split}.txt").read_text().split() for split in ("trn", "val"))
    scene = train[0].rpartition("_")[0]
    moved = [name for name in train if name.rpartition("_")[0] == scene]
    (root / "ImageSets" / "trn.txt").write_text("\n".join(name for name in train if name not in moved) + "\n")
    (root / "ImageSets" / "val.txt").write_text("\n".join(val + moved) + "\n")
    with pytest.raises(DataChangedError, match=rf"got {len(moved)} samples? in another split \({moved[0]}"):
        require_same_data(search, before.fingerprint, identify())


def test_classes_are_named_where_no_file_has_changed():
    samples = {"a": SampleIdentity("1", "s", "train")}
    assert "other classes" in DataIdentity("x", samples).differences(DataIdentity("y", samples))


@pytest.mark.parametrize("noted", [None, b"", b"[1, 2]", b'{"a": "torn', b'{"a": {"digest": 1}}'])
def test_a_search_that_has_not_noted_its_samples_says_less(search, noted):
    if noted is not None:
        search.write("data.json", noted)
    before = DataIdentity.read(search, "x")
    assert before == DataIdentity("x")
    now = DataIdentity("y", {"a": SampleIdentity("1", "s", "train")})
    with pytest.raises(DataChangedError, match="got other files, scenes, splits or classes"):
        require_same_data(search, "x", now)


def test_every_sample_has_a_digest_of_its_own(root, identify, tmp_path):
    digests = [sample.digest for sample in identify().samples.values()]
    assert len(set(digests)) == len(digests) == len(read_image_set(
        DatasetConfig(layout="aeroscapes", root=root, dev_share=0.3), tmp_path
    ))  # fmt: skip
    assert all(len(bytes.fromhex(digest)) == 16 for digest in digests)
    assert np.unique([len(digest) for digest in digests]).tolist() == [32]
