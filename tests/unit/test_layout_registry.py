"""A layout is one entry of the registry, and one module."""

import pkgutil
import sys

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from search.config.data_source import load_data_source
from trainable.data.dataset_config import DatasetConfig
from trainable.data.layout_registry import LAYOUTS, Layout
from trainable.data.trial_data import open_trial_data
from trainable.errors import InputError

READER = '''
from trainable.data.dataset_problem import Problem
from trainable.data.image_set import ImageSet, LabelClass, MaskEncoding, Sample


def read(config, cache_dir, say):
    """The images of a folder: the first of them are val, as many as the config's key says."""
    root = config.root
    if say:
        say(f"reading {root.name}, its cache is {cache_dir.name}")
    ids = sorted(path.stem for path in root.glob("*.jpg"))
    if not ids:
        return None, [Problem(root, "a flat set must have images", "none", "Add some")]
    samples = tuple(
        Sample(id_, root / f"{id_}.jpg", root / f"{id_}.png", id_, "val" if at < config.images else "train")
        for at, id_ in enumerate(ids)
    )
    classes = (LabelClass("land", (0, 0, 0), thing=False), LabelClass("roof", (255, 0, 0), thing=True))
    return ImageSet("flat", classes, MaskEncoding("ids", ids={0: 0, 1: 1}), samples, ()), []
'''
FLAT = Layout(
    "flat_layout:read", requires={"root": "Give the folder of the images"}, takes={"images": 41, "seed": None}
)


@pytest.fixture
def flat(tmp_path, monkeypatch):
    """A folder of 50 images, and the one entry and the one module that make its layout known."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/flat_layout.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.setitem(LAYOUTS, "flat", FLAT)
    root = tmp_path / "tiles"
    root.mkdir()
    random = np.random.default_rng(0)
    for at in range(50):
        Image.fromarray(random.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(root / f"{at:02}.jpg")
        Image.fromarray(random.integers(0, 2, (16, 24), dtype=np.uint8)).save(root / f"{at:02}.png")
    yield root
    sys.modules.pop("flat_layout", None)


def test_a_set_of_a_new_layout_is_opened(flat, tmp_path):
    lines = []
    data = open_trial_data(DatasetConfig(layout="flat", root=flat), tmp_path / "cache", say=lines.append)
    assert (data.image_set.name, data.num_classes, len(data.image_set)) == ("flat", 2, 50)
    assert len(data.splits.val) == 41
    assert len(data.splits.train) + len(data.splits.dev) == 9
    assert lines == ["reading tiles, its cache is cache"]


def test_what_its_reader_finds_wrong_is_said(flat, tmp_path):
    config = DatasetConfig(layout="flat", root=tmp_path / "modules")
    with pytest.raises(InputError, match=r"a flat set must have images; got .*none\. Add some\."):
        open_trial_data(config, tmp_path / "cache")


def test_a_new_layout_has_the_keys_of_its_entry(flat):
    config = DatasetConfig(layout="flat", root=flat, seed=3)
    assert (config.images, config.seed, config.size) == (41, 3, None)
    assert DatasetConfig.model_validate_json(config.model_dump_json()) == config
    assert not config.is_made
    assert config.at("s3://bucket/x").root == "s3://bucket/x"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "dataset.layout flat needs dataset.root; got none. Give the folder of the images."),
        (
            {"root": "a", "size": "64x64"},
            "dataset.layout flat takes no dataset.size; got 64x64. Remove dataset.size or",
        ),
        ({"root": "a", "scenes": 8}, "dataset.layout flat takes no dataset.scenes; got 8."),
        ({"root": "a", "description": "b.yaml"}, "dataset.layout flat takes no dataset.description; got b.yaml."),
    ],
)
def test_a_new_layout_refuses_what_its_entry_does_not_name(flat, given, message):
    with pytest.raises(ValidationError) as refusal:
        DatasetConfig.model_validate({"layout": "flat"} | given)
    assert message in str(refusal.value)


def test_a_new_layout_is_named_where_a_name_is_wrong(flat):
    rule = rf"dataset\.layout must be one of {', '.join(LAYOUTS)}; got 'flatt'.*Did you mean flat\?"
    with pytest.raises(InputError, match=rule):
        load_data_source(None, ["dataset.layout=flatt"])


OR_NAMES = " or ".join((", ".join(map(repr, [*LAYOUTS][:-1])), repr([*LAYOUTS][-1])))


@pytest.mark.parametrize("given", [["aeroscapes"], {"aeroscapes": 1}, None, 3, True])
def test_what_is_no_name_is_refused_as_a_wrong_name_is(given):
    with pytest.raises(ValidationError) as refusal:
        DatasetConfig(layout=given)
    (details,) = refusal.value.errors()
    assert details["type"] == "literal_error"
    assert (details["loc"], details["input"]) == (("layout",), given)
    assert details["msg"] == f"Input should be {OR_NAMES}"


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_entry_names_keys_that_exist_and_a_reader_that_does(name):
    layout = LAYOUTS[name]
    assert {*layout.requires, *layout.takes} <= {*DatasetConfig.model_fields}
    assert not {*layout.requires} & {*layout.takes}
    assert callable(pkgutil.resolve_name(layout.reader))
