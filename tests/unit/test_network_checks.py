"""Networks are tried, before anything starts, on the sizes that they will see; all that cannot be used are named."""

import re
import shlex

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from search.config.config_file import load_search_config
from search.run.preflight import network_checks
from search.run.preflight.network_checks import check_networks, evaluation_views, model_configs
from search.space.space_parsing import parse_space
from trainable.errors import InputError
from trainable.network.model import build_model

SWIN = "tu-swin_tiny_patch4_window7_224"
SMALL = "timm-mobilenetv3_small_100"


def space(crop="224x224", **model):
    return parse_space({"model": {"encoder": SMALL, "encoder_weights": "none"} | model, "data": {"crop": crop}})


def own(name, *more):
    return {"architecture": [f"test_network_check_models:{name}", *more]}


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """A module of networks, as a user has one."""
    (tmp_path / "test_network_check_models.py").write_text(
        """
import torch
from torch import nn

class Plain(nn.Module):
    def __init__(self, num_classes, width=4):
        super().__init__()
        self.layer = nn.Conv2d(3, num_classes, 1)
        self.width = width

    def forward(self, images):
        return self.layer(images)

class LooksAtNumbers(Plain):
    def forward(self, images):
        logits = self.layer(images)
        return logits if float(logits.sum()) < 1e30 else logits * 0  # no meta tensor has a value

class KeepsATensor(Plain):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.lead = torch.zeros(1, num_classes, 1, 1)  # of the CPU, whatever the module is moved to

    def forward(self, images):
        return self.layer(images) + self.lead.to(images.device)

class OneSize(Plain):
    def forward(self, images):
        if tuple(images.shape[2:]) != (224, 224):
            raise ValueError(f"made for 224x224, not for {images.shape[2]}x{images.shape[3]}")
        return self.layer(images)

class TwoHeadsInTraining(Plain):
    def forward(self, images):
        logits = self.layer(images)
        return (logits, logits) if self.training else logits

class Narrow(Plain):
    def forward(self, images):
        if self.width == 3:
            raise ValueError("too narrow")
        return self.layer(images)
"""
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_network_of_one_input_size_passes_where_evaluation_shows_it_that_size():
    assert check_networks(space(encoder=SWIN, architecture="unet"), 3, [(224, 224)]) is None


def test_a_network_that_cannot_see_the_images_is_refused_though_it_can_be_trained():
    with pytest.raises(InputError) as caught:
        check_networks(space(encoder=SWIN, architecture="unet"), 3, [(224, 224), (256, 320)])
    assert str(caught.value) == (
        f"unet with {SWIN} must run on 256x320 pixels, as evaluation shows it images of dev and val; got Input height "
        "(256) doesn't match model (224). Use another encoder: no crop mends it."
    )


def test_all_networks_that_cannot_be_used_are_named_at_once_with_what_leaves_them_out():
    given = space(encoder=[SWIN, SMALL, "vgg11"], architecture=["fpn", "deeplabv3plus"])
    with pytest.raises(InputError, match="3 problems") as caught:
        check_networks(given, 3, [(256, 320)])
    message = str(caught.value)
    assert f"fpn with {SWIN} must run on 256x320 pixels" in message
    assert f"(deeplabv3plus with {SWIN})" in message, "its encoder cannot be dilated"
    assert "(deeplabv3plus with vgg11)" in message
    assert message.count("To leave all that cannot be used out") == 1
    assert f"exclude=[{{encoder: {SWIN}}}, {{architecture: deeplabv3plus, encoder: vgg11}}]" in message


def remedy_of(message):
    """The override that a message names, as a shell would read it."""
    (override,) = re.findall(r"--set ('[^']*')", message)
    return shlex.split(override)[0]


def test_the_printed_remedy_works(tmp_path):
    """Pasted behind the command that was refused, and into the file."""
    values = {
        "name": "small", "dataset": {"layout": "synthetic"},
        "space": {"model": {"encoder": ["vgg11", SMALL, "resnet18"], "architecture": ["unet", "deeplabv3plus"],
                            "encoder_weights": "none",
                            "exclude": [{"architecture": "deeplabv3plus", "encoder": "resnet18"}]},
                  "data": {"crop": "64x64"}},
    }  # fmt: skip
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(InputError) as caught:
        check_networks(load_search_config(file, [], None).parsed_space, 3, [(64, 96)])
    override = remedy_of(str(caught.value))
    expected = {("unet", SMALL), ("deeplabv3plus", SMALL), ("unet", "resnet18"), ("unet", "vgg11")}

    def used(config):
        check_networks(config.parsed_space, 3, [(64, 96)])
        return {(model.architecture, model.encoder) for model in model_configs(config.parsed_space)}

    assert used(load_search_config(file, [override], None)) == expected
    values["space"]["model"]["exclude"] = yaml.safe_load(override.partition("=")[2])
    file.write_text(yaml.safe_dump(values))
    assert used(load_search_config(file, [], None)) == expected


def test_nothing_is_left_out_where_nothing_would_remain():
    with pytest.raises(InputError) as caught:
        check_networks(space("64x64", encoder="vgg11", architecture=["deeplabv3", "deeplabv3plus"]), 3)
    assert "(deeplabv3plus with vgg11)" in str(caught.value)
    assert "exclude" not in str(caught.value)


@pytest.mark.parametrize("name", ["Plain", "LooksAtNumbers", "KeepsATensor"])
def test_networks_that_cannot_run_on_shapes_alone_are_run_for_real(name):
    assert check_networks(space("64x64", **own(name)), 3, [(64, 96)]) is None


def test_a_network_of_the_users_own_that_takes_one_size_is_refused():
    message = (
        r"OneSize must run on 64x96 pixels, as evaluation shows .*; got made for 224x224, not for 64x96\. Mend its forw"
    )
    with pytest.raises(InputError, match=message):
        check_networks(space(**own("OneSize")), 3, [(64, 96)])


def test_a_network_that_gives_something_else_in_training_is_refused():
    with pytest.raises(InputError, match=r"TwoHeadsInTraining must give logits .* in training; got tuple"):
        check_networks(space("64x64", **own("TwoHeadsInTraining")), 3, [(64, 64)])


def test_what_no_exclusion_can_tell_apart_is_named_without_one():
    given = parse_space({"model": own("Narrow") | {"options": {"width": [3, 4]}}, "data": {"crop": "64x64"}})
    with pytest.raises(InputError, match="got 64x64: too narrow") as caught:
        check_networks(given, 3)
    assert "exclude" not in str(caught.value)


def test_a_network_that_this_machine_has_no_memory_for_is_left_to_those_that_train(monkeypatch):
    class Large(nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("no room") if images.device.type == "cpu" else NotImplementedError("no meta")

    monkeypatch.setattr(network_checks, "build_model", lambda *_: Large())
    assert check_networks(space(architecture="unet"), 3, [(64, 64)]) is None


def test_images_of_any_size_cost_no_memory():
    """Two terabytes of pixels, on a small machine."""
    assert check_networks(space("32x32", architecture="unet"), 3, [(2**19, 2**18)]) is None


def test_an_encoder_whose_weights_cannot_be_had_is_tried_once(monkeypatch):
    built = []

    def offline(model, num_classes):
        built.append((model.architecture, model.encoder))
        if model.encoder_weights == "imagenet":
            raise InputError(
                f"model.encoder_weights imagenet must be downloadable for {model.encoder}", "no", "Mend it"
            )
        return build_model(model, num_classes)

    monkeypatch.setattr(network_checks, "build_model", offline)
    given = parse_space({"model": {"architecture": ["unet", "fpn"], "encoder": [SMALL, "resnet18"]}})
    with pytest.raises(InputError, match="2 problems"):
        check_networks(given, 3)
    assert [encoder for _, encoder in built] == [SMALL, "resnet18"]


def test_few_sizes_are_all_tried():
    shapes = np.array([(720, 1280), (720, 1280), (700, 1270), (100, 64), (2000, 3000)])
    views = evaluation_views(shapes)
    assert {(736, 1280), (704, 1280), (128, 64)} < set(views)
    assert all(height % 32 == width % 32 == 0 for height, width in views)
    assert max(height for height, _ in views) < 2000, "a tile of the large image, not the whole"


def test_of_many_sizes_the_extremes_are_tried_and_some_of_each_stride():
    generator = np.random.default_rng(0)
    shapes = generator.integers(40, 900, (300, 2))
    padded = {(-(-height // 32) * 32, -(-width // 32) * 32) for height, width in shapes}
    views = evaluation_views(shapes)
    assert len(views) <= 8
    assert set(views) <= padded
    for key in (lambda size: size[0] * size[1], lambda size: size[0], lambda size: size[1]):
        assert {key(min(padded, key=key)), key(max(padded, key=key))} <= {key(size) for size in views}
    assert evaluation_views(np.zeros((0, 2), dtype=np.int64)) == []
