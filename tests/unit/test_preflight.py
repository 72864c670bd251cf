"""What would fail in every trial fails before any."""

from dataclasses import replace

import pytest

from search.config import SearchConfig
from search.preflight import check_objective, check_search, model_configs
from search.space import parse_space
from trainable.dataset_config import DatasetConfig
from trainable.errors import InputError
from trainable.trial_data import open_trial_data


def config(**model):
    return SearchConfig.model_validate(
        {
            "name": "preflight",
            "dataset": {"layout": "synthetic"},
            "space": {
                "model": {"encoder": "resnet18", "encoder_weights": "none"} | model,
                "optimizer": {"learning_rate": 1e-3},
                "data": {"crop": "64x64"},
            },
        }
    )


def test_every_network_of_the_space_is_looked_at():
    space = parse_space({"model": {"architecture": ["unet", "fpn"], "output_stride": [8, 16], "encoder": "resnet18"}})
    models = model_configs(space)
    assert {(model.architecture, model.output_stride) for model in models} == {
        ("unet", 8), ("unet", 16), ("fpn", 8), ("fpn", 16),
    }  # fmt: skip
    assert {model.encoder for model in models} == {"resnet18"}


def test_a_crop_that_an_architecture_cannot_take_is_refused():
    with pytest.raises(InputError, match=r"data\.crop must be a size that pan can be trained on; got 64x64: "):
        check_search(config(architecture=["unet", "pan"]), num_classes=3)


def test_a_good_search_passes():
    assert check_search(config(architecture=["unet", "deeplabv3plus"]), num_classes=3) is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"architecture": ["unet", "yolo"]}, r"model\.architecture must be .*'yolo'"),
        ({"encoder": ["resnet18", "resnet9000"]}, r"model\.encoder must be .*'resnet9000'"),
        ({"encoder_weights": "/no/such/file.pt"}, r"model\.encoder_weights must be .*no/such/file"),
        ({"architecture": "deeplabv3", "encoder": "vgg11"}, r"combination that segmentation_models_pytorch can build"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(model, message):
    with pytest.raises(InputError, match=message):
        check_search(config(**model), num_classes=3)


def test_thing_miou_needs_a_thing_on_dev(tmp_path):
    data = open_trial_data(DatasetConfig(layout="synthetic", images=40, size="64x64"), tmp_path)
    check_objective("thing_miou", data)
    only_stuff = tuple(replace(entry, thing=False) for entry in data.image_set.classes)
    without = replace(data, image_set=replace(data.image_set, classes=only_stuff))
    check_objective("miou", without)
    with pytest.raises(InputError, match=r"needs a thing class that occurs on dev; got an image set without things"):
        check_objective("thing_miou", without)
