from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from trainable.data.dataset_config import DatasetConfig
from trainable.data.read_image_set import read_image_set
from trainable.data.synthetic import made_once
from trainable.errors import InputError

SMALL = DatasetConfig(layout="synthetic", images=40, size="64x80", seed=1)


def test_a_synthetic_set_is_made_once(tmp_path, monkeypatch):
    calls = []
    make = made_once.synthesize
    monkeypatch.setattr(made_once, "synthesize", lambda *args, **more: (calls.append(args), make(*args, **more)))
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda _: read_image_set(SMALL, tmp_path / "cache"), range(4)))
    assert len(calls) == 1
    assert calls[0][1:] == (40, (64, 80), 1)
    assert all(found == sets[0] for found in sets)
    assert len(sets[0]) == 40
    folders = [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert [sets[0].samples[0].image.parents[1]] == folders
    assert folders[0].name.startswith("synthetic-")


@pytest.mark.parametrize("change", [{"seed": 2}, {"images": 41}, {"size": "64x81"}])
def test_another_recipe_is_another_folder(tmp_path, change):
    first = read_image_set(SMALL, tmp_path)
    other = read_image_set(SMALL.model_copy(update=change), tmp_path)
    assert first.samples[0].image.parents[1] != other.samples[0].image.parents[1]
    again = read_image_set(SMALL.model_copy(update={"dev_share": 0.4}), tmp_path)
    assert again == first


def test_a_set_that_was_not_finished_is_not_kept(tmp_path, monkeypatch):
    def fail(folder, *_, **__):
        (folder / "JPEGImages").mkdir()
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(made_once, "synthesize", fail)
        with pytest.raises(OSError, match="disk full"):
            read_image_set(SMALL, tmp_path)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []
    assert len(read_image_set(SMALL, tmp_path)) == 40


def test_other_layouts_are_read_where_they_lie(tmp_path):
    made = read_image_set(SMALL, tmp_path)
    root = made.samples[0].image.parents[1]
    assert read_image_set(DatasetConfig(layout="aeroscapes", root=root), tmp_path) == made
    with pytest.raises(InputError, match="no such folder"):
        read_image_set(DatasetConfig(layout="aeroscapes", root=tmp_path / "gone"), tmp_path)
    with pytest.raises(InputError, match=r"dataset.description must be a YAML file"):
        read_image_set(DatasetConfig(layout="described", description=tmp_path / "gone.yaml"), tmp_path)
    with pytest.raises(InputError, match=r"dataset.root must be given"):
        read_image_set(DatasetConfig.model_construct(layout="aeroscapes"), tmp_path)


def test_a_description_in_the_config_is_read_as_its_file_is(tmp_path):
    made = read_image_set(SMALL, tmp_path)
    root = made.samples[0].image.parents[1]
    given = {
        "name": "made", "root": root.name, "images": "JPEGImages/*.jpg", "masks": "SegmentationClass/*.png",
        "encoding": "ids", "classes": [{"name": entry.name, "id": id_} for id_, entry in enumerate(made.classes)],
        "scene_regex": "^[0-9]+", "split": {"by": "list", "train": "ImageSets/trn.txt", "val": "ImageSets/val.txt"},
    }  # fmt: skip
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(given))
    of_a_file = read_image_set(DatasetConfig(layout="described", description=tmp_path / "set.yaml"), tmp_path)
    own_root = DatasetConfig(layout="described", description=given | {"root": str(root)})
    other_root = DatasetConfig(layout="described", description=given, root=root)
    assert of_a_file == read_image_set(own_root, tmp_path) == read_image_set(other_root, tmp_path)
    assert [(s.id, s.scene, s.split) for s in of_a_file] == [(s.id, s.scene, s.split) for s in made]
