"""What would fail in every trial fails before any."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from search.config.search_config import SearchConfig, SpaceConfig
from search.run.preflight import network_checks
from search.run.preflight.network_checks import model_configs
from search.run.preflight.search_checks import check_data, check_names, check_objective, check_search
from search.space.space_parsing import parse_space
from trainable.data.dataset_config import DatasetConfig
from trainable.data.trial_data import open_trial_data
from trainable.errors import InputError


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
    architectures = ["unet", "deeplabv3"]
    space = parse_space({"model": {"architecture": architectures, "output_stride": [8, 16], "encoder": "resnet18"}})
    models = model_configs(space)
    assert {(model.architecture, model.output_stride) for model in models} == {
        ("unet", None), ("deeplabv3", 8), ("deeplabv3", 16),
    }  # fmt: skip
    assert {model.encoder for model in models} == {"resnet18"}


def test_a_crop_that_an_architecture_cannot_take_is_refused():
    with pytest.raises(
        InputError, match=r"data\.crop must be a size that pan with resnet18 can be trained on; got 64x64: "
    ):
        check_search(config(architecture=["unet", "pan"]), num_classes=3)


def test_a_good_search_passes():
    assert check_search(config(architecture=["unet", "deeplabv3plus"]), num_classes=3) is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"encoder": ["resnet18", "resnet9000"]}, r"model\.encoder must be .*'resnet9000'"),
        ({"encoder_weights": "/no/such/file.pt"}, r"model\.encoder_weights must be .*no/such/file"),
        ({"architecture": "deeplabv3", "encoder": "vgg11"}, r"combination that segmentation_models_pytorch can build"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(model, message):
    with pytest.raises(InputError, match=message):
        check_search(config(**model), num_classes=3)


def test_a_batch_of_one_is_refused_where_a_network_cannot_train_on_it():
    def batches(sizes, architecture):
        plain = config(architecture=architecture)
        return plain.model_copy(update={"space": SpaceConfig(**plain.space.model_dump() | {"data": {
            "crop": "64x64", "batch_size": sizes}})})  # fmt: skip

    assert check_search(batches([1, 4], "unet"), num_classes=3) is None
    assert check_search(batches(2, ["unet", "deeplabv3"]), num_classes=3) is None
    for sizes in (1, [4, 1], {"low": 1, "high": 4}):
        with pytest.raises(
            InputError,
            match=r"data\.batch_size must be at least 2 for deeplabv3 with resnet18 on crops of 64x64.*got 1",
        ):
            check_search(batches(sizes, ["unet", "deeplabv3"]), num_classes=3)


def test_all_names_that_cannot_be_had_are_told_at_once_without_building_anything(monkeypatch):
    monkeypatch.setattr(network_checks, "build_model", None)
    given = {"model": {"encoder": ["resnet18", "resnet19"], "encoder_weights": ["none", "/no/w.pt"]},
             "loss": {"name": ["dice", "nowhere:Loss"]}}  # fmt: skip
    with pytest.raises(InputError, match="3 problems") as caught:
        check_names(parse_space(given))
    for part in ("got 'resnet19'", "got '/no/w.pt'", "nowhere:Loss must name a module"):
        assert part in str(caught.value)
    assert check_names(parse_space({"model": {"encoder": "resnet18", "encoder_weights": "none"}})) is None


def with_data(**data):
    return config().model_copy(update={"space": SpaceConfig(data=data), "objective": ["miou", "recall/nobody"]})


def test_a_batch_larger_than_an_epoch_is_refused_together_with_what_else_the_images_lack(synthetic_data):
    images = len(synthetic_data.splits.train)
    fitting = with_data(batch_size=[2, images]).model_copy(update={"objective": "miou"})
    assert check_data(fitting, synthetic_data) is None
    twice = with_data(batch_size=images + 1, crops_per_image=2).model_copy(update={"objective": "miou"})
    assert check_data(twice, synthetic_data) is None
    with pytest.raises(InputError) as caught:
        check_data(with_data(batch_size={"low": 2, "high": images + 1}, crops_per_image=[1, 2]), synthetic_data)
    assert f"data.batch_size must be at most an epoch's crops ({images} images, data.crops_per_image 1); got " in str(
        caught.value
    )
    assert "objective recall/nobody must name a class of" in str(caught.value)


def test_thing_miou_needs_a_thing_on_dev(tmp_path):
    data = open_trial_data(DatasetConfig(layout="synthetic", images=40, size="64x64"), tmp_path)
    check_objective(["miou", "thing_miou", "thing_miss_rate"], data)
    only_stuff = tuple(replace(entry, thing=False) for entry in data.image_set.classes)
    without = replace(data, image_set=replace(data.image_set, classes=only_stuff))
    check_objective(["miou"], without)
    with pytest.raises(InputError, match=r"needs a thing class that occurs on dev; got an image set without things"):
        check_objective(["thing_miou"], without)
    with pytest.raises(InputError, match="objective thing_recall needs a thing class that occurs on dev"):
        check_objective(["miou", "thing_recall"], without)


@pytest.fixture
def aerial(synthetic_data):
    """A set whose class names are not all safe in a metric's name; its last class is not on dev."""
    image_set = synthetic_data.image_set
    names = {0: "road & path", 1: "lorry"}
    classes = [
        replace(entry, name=names.get(label, entry.name), thing=label == 1)
        for label, entry in enumerate(image_set.classes)
    ]
    counts = np.array(synthetic_data.cache.pixel_counts)
    counts[:, :2] = 5
    counts[list(synthetic_data.splits.dev), -1] = 0
    cache = SimpleNamespace(pixel_counts=counts)
    return replace(synthetic_data, image_set=replace(image_set, classes=tuple(classes)), cache=cache)


@pytest.mark.parametrize(
    "objective",
    [
        *("miou", "recall/lorry", "iou/road & path", "precision/road _ path", "miss_rate/lorry"),
        *("false_alarms_per_image/lorry", "thing_false_alarms_per_image"),
    ],
)
def test_an_objective_of_a_class_that_is_on_dev_passes(aerial, objective):
    assert check_objective([objective], aerial) is None


def test_every_objective_that_would_be_undefined_is_named(aerial):
    missing = aerial.image_set.classes[-1].name
    objectives = ["recall/lory", f"iou/{missing}", "miss_rate/road _ path", "recall/lorry"]
    with pytest.raises(InputError) as caught:
        check_objective(objectives, aerial)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 3
    assert "objective recall/lory must name a class of" in lines[1]
    assert "; got lory. Did you mean recall/lorry? The classes are road _ path, lorry, " in lines[1]
    assert f"objective iou/{missing} needs a class that occurs on dev; got no pixel of {missing} there." in lines[2]
    assert (
        "objective miss_rate/road _ path counts objects and needs a thing class; got road _ path, which is stuff."
        in (lines[3])
    )
    assert "use recall/road _ path" in lines[3]
