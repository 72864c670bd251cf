from pathlib import Path

import pytest
from pydantic import ValidationError

from trainable.data.dataset_config import DatasetConfig, parse_size
from trainable.errors import InputError

DESCRIPTION = {
    "name": "tiles",
    "root": "/data/tiles",
    "images": "images/*.jpg",
    "masks": "masks/*.png",
    "encoding": "ids",
    "classes": [{"name": "land", "id": 0}, {"name": "roof", "id": 1, "color": "#3C1098", "thing": True}],
    "ignored": [255],
    "split": {"by": "share", "val": 0.2},
}
VALID = [
    {"layout": "aeroscapes", "root": "data/aeroscapes"},
    {"layout": "described", "description": "set.yaml"},
    {"layout": "described", "description": "set.yaml", "root": "elsewhere", "dev_share": 0.3},
    {"layout": "aeroscapes", "root": "s3://bucket/aeroscapes"},
    {"layout": "described", "description": DESCRIPTION},
    {"layout": "described", "description": DESCRIPTION | {"root": "s3://bucket/tiles"}},
    {"layout": "described", "description": DESCRIPTION | {"root": "tiles"}, "root": "s3://bucket/tiles"},
    {"layout": "synthetic"},
    {"layout": "synthetic", "images": 60, "size": "64x128", "seed": 7},
]


@pytest.mark.parametrize("given", VALID)
def test_json_round_trip_keeps_the_config(given):
    config = DatasetConfig.model_validate(given)
    assert DatasetConfig.model_validate_json(config.model_dump_json()) == config
    assert DatasetConfig.model_validate(config.model_dump(mode="json")) == config


def test_synthetic_resolves_its_defaults_and_no_other_layout_shows_them():
    synthetic = DatasetConfig(layout="synthetic")
    assert (synthetic.images, synthetic.size, synthetic.seed) == (120, "96x160", 0)
    assert synthetic.height_width == (96, 160)
    published = DatasetConfig(layout="aeroscapes", root=Path("a"))
    assert (published.images, published.size, published.seed) == (None, None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"layout": "aeroscapes"}, "dataset.layout aeroscapes needs dataset.root; got none"),
        ({"layout": "aeroscapes", "root": "a", "images": 50}, "takes no dataset.images; got 50. Remove"),
        ({"layout": "aeroscapes", "root": "a", "description": "b"}, "takes no dataset.description; got b"),
        ({"layout": "described"}, "dataset.layout described needs dataset.description"),
        ({"layout": "described", "description": "a", "seed": 0}, "takes no dataset.seed; got 0"),
        (
            {"layout": "described", "description": DESCRIPTION | {"root": "tiles"}},
            "dataset.description.root must be absolute, or a URL, where no file says what it is relative to; got tiles",
        ),
        (
            {"layout": "aeroscapes", "root": "s3://key:s3cret@bucket/x"},
            "dataset.root must hold no password and no key: it is shown and recorded; got s3://key:***@bucket/x. Put",
        ),
        (
            {"layout": "described", "description": DESCRIPTION | {"root": "s3://bucket/x?token=s3cret"}},
            "dataset.description.root: it must hold no password and no key: it is shown and recorded; got s3://bucket/x?",
        ),
        ({"layout": "synthetic", "root": "s3://b/x"}, "dataset.layout synthetic takes no dataset.root; got s3://b/x"),
        ({"layout": "synthetic", "root": "a"}, "dataset.layout synthetic takes no dataset.root; got a"),
        ({"layout": "synthetic", "size": "96"}, "HEIGHTxWIDTH in pixels; got '96'"),
        ({"layout": "synthetic", "size": "96x16"}, "must lie in 64..2048; got 96x16"),
        ({"layout": "synthetic", "images": 3}, "greater than or equal to 40"),
        ({"layout": "synthetic", "dev_share": 1.0}, "less than 1"),
        ({"layout": "synthetic", "dev_share": 0}, "greater than 0"),
        ({"layout": "synthetic", "dev_shar": 0.1}, "Extra inputs are not permitted"),
        ({"layout": "coco"}, "Input should be 'aeroscapes', 'described'"),
    ],
)
def test_refusals_name_rule_value_and_remedy(given, message):
    with pytest.raises(ValidationError) as refusal:
        DatasetConfig.model_validate(given)
    assert message in str(refusal.value)


def test_absolute_makes_relative_paths_independent_of_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = DatasetConfig(layout="described", description=Path("set.yaml"), root=Path("/data")).absolute()
    assert config.description == tmp_path / "set.yaml"
    assert config.root == Path("/data")
    assert DatasetConfig(layout="synthetic").absolute() == DatasetConfig(layout="synthetic")


def test_a_url_keeps_its_slashes_and_depends_on_no_directory():
    config = DatasetConfig(layout="aeroscapes", root="s3://bucket/aeroscapes")
    assert config.root == config.absolute().root == "s3://bucket/aeroscapes"
    assert DatasetConfig.model_validate_json(config.model_dump_json()).root == config.root
    own = DatasetConfig(layout="described", description=DESCRIPTION | {"root": "s3://bucket/tiles"})
    assert own.description.root == own.absolute().description.root == "s3://bucket/tiles"


def test_a_set_can_be_moved_to_a_path_or_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = DatasetConfig(layout="described", description=DESCRIPTION)
    assert config.at("s3://bucket/x").root == "s3://bucket/x"
    assert config.at("x").root == config.at(Path("x")).root == tmp_path / "x"
    assert DatasetConfig(layout="synthetic").at("s3://bucket/x") == DatasetConfig(layout="synthetic")


def test_every_mistake_in_a_description_is_named_by_its_key_of_the_config():
    wrong = DESCRIPTION | {"classes": [{"name": "a/b", "id": 0}], "encoding": "png", "colour": 1}
    del wrong["masks"]
    with pytest.raises(ValidationError) as refusal:
        DatasetConfig(layout="described", description=wrong)
    found = [details["ctx"]["error"] for details in refusal.value.errors()]
    assert [f"{error.rule}; got {error.value}" for error in found] == [
        "dataset.description.masks must be given; got nothing",
        "dataset.description.encoding: Input should be 'ids' or 'rgb'; got 'png'",
        "dataset.description.classes.0.name: a class name must consist of letters, digits, '_', '-', '.' and inner "
        "spaces; got 'a/b'",
        "dataset.description.colour must be a key that descriptions have; got dataset.description.colour",
    ]
    with pytest.raises(
        ValidationError, match=r"dataset\.description: the globs of images and masks must have the same"
    ):
        DatasetConfig(layout="described", description=DESCRIPTION | {"masks": "masks/*/*.png"})


def test_only_a_synthetic_set_has_a_size_of_its_own():
    with pytest.raises(InputError, match="only a synthetic set has a size"):
        _ = DatasetConfig(layout="aeroscapes", root=Path("a")).height_width


def test_a_size_is_height_first():
    assert parse_size("96x160") == (96, 160)


def test_a_synthetic_set_has_frames_enough_for_its_scenes():
    assert DatasetConfig(layout="synthetic", images=40, scenes=20).scenes == 20
    with pytest.raises(ValidationError, match=r"a scene or more; got dataset\.images 40 and dataset\.scenes 21\."):
        DatasetConfig(layout="synthetic", images=40, scenes=21)
