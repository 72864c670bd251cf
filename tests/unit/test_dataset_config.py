from pathlib import Path

import pytest
from pydantic import ValidationError

from trainable.dataset_config import DatasetConfig, parse_size
from trainable.errors import InputError

VALID = [
    {"layout": "aeroscapes", "root": "data/aeroscapes"},
    {"layout": "described", "description": "set.yaml"},
    {"layout": "described", "description": "set.yaml", "root": "elsewhere", "dev_share": 0.3},
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
        ({"layout": "synthetic", "root": "a"}, "dataset.layout synthetic takes no dataset.root; got a"),
        ({"layout": "synthetic", "size": "96"}, "HEIGHTxWIDTH in pixels; got '96'"),
        ({"layout": "synthetic", "size": "96x16"}, "must lie in 64..2048; got 96x16"),
        ({"layout": "synthetic", "images": 3}, "greater than or equal to 40"),
        ({"layout": "synthetic", "dev_share": 1.0}, "less than 1"),
        ({"layout": "synthetic", "dev_share": 0}, "greater than 0"),
        ({"layout": "synthetic", "dev_shar": 0.1}, "Extra inputs are not permitted"),
        ({"layout": "coco"}, "'aeroscapes', 'described' or 'synthetic'"),
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


def test_only_a_synthetic_set_has_a_size_of_its_own():
    with pytest.raises(InputError, match="only a synthetic set has a size"):
        _ = DatasetConfig(layout="aeroscapes", root=Path("a")).height_width


def test_a_size_is_height_first():
    assert parse_size("96x160") == (96, 160)


def test_a_synthetic_set_has_frames_enough_for_its_scenes():
    assert DatasetConfig(layout="synthetic", images=40, scenes=20).scenes == 20
    with pytest.raises(ValidationError, match=r"a scene or more; got dataset\.images 40 and dataset\.scenes 21\."):
        DatasetConfig(layout="synthetic", images=40, scenes=21)
