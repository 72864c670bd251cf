"""One suite for every architecture: a new one costs a line in ARCHITECTURES_AND_ENCODERS."""

import inspect
import pickle
import socket
from pathlib import Path

import huggingface_hub.constants
import pytest
import segmentation_models_pytorch as smp
import torch
from pydantic import ValidationError
from torch import nn

from trainable.config.architectures import ARCHITECTURES, model_parameters
from trainable.config.sections import ModelConfig
from trainable.config.user_class import load_class
from trainable.errors import InputError
from trainable.network import model as model_module
from trainable.network.model import build_model, check_names, smallest_batch

TINY = "timm-mobilenetv3_small_100"
CLASSES = 5

ARCHITECTURES_AND_ENCODERS = {
    "unet": (TINY, 64),
    "unetplusplus": (TINY, 64),
    "manet": (TINY, 64),
    "linknet": (TINY, 64),
    "fpn": (TINY, 64),
    "pspnet": (TINY, 64),
    "deeplabv3": (TINY, 64),
    "deeplabv3plus": (TINY, 64),
    "pan": (TINY, 128),  # its attention pyramid halves the deepest map three times
    "upernet": (TINY, 64),
    "segformer": (TINY, 64),
    "dpt": ("tu-vit_tiny_patch16_224", 64),  # takes vision transformers only
}


def test_every_architecture_is_in_the_suite():
    assert ARCHITECTURES_AND_ENCODERS.keys() == ARCHITECTURES.keys()


def test_a_config_knows_the_names_that_the_library_has():
    of_library = {name: load_class(ARCHITECTURES[name].implementation) for name in smp.MODEL_ARCHITECTURES_MAPPING}
    assert of_library == smp.MODEL_ARCHITECTURES_MAPPING
    for name in ("unet4", "Unet", ""):
        with pytest.raises(ValidationError, match="must be one of unet, unetplusplus, "):
            ModelConfig(architecture=name)


@pytest.fixture(params=ARCHITECTURES_AND_ENCODERS.items(), ids=ARCHITECTURES_AND_ENCODERS)
def case(request):
    architecture, (encoder, side) = request.param
    return ModelConfig(architecture=architecture, encoder=encoder, encoder_weights="none"), side


def build(config, seed=0):
    torch.manual_seed(seed)
    return build_model(config, CLASSES)


def test_conforms(case):
    """Logits of the image's size, also of one that is not square; it trains on two crops; the seed decides."""
    config, side = case
    model = build(config)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    target = torch.ones(2, side, side, dtype=torch.int64)

    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    losses = []
    for _ in range(4):
        logits = model.train()(images)
        assert logits.shape == (2, CLASSES, side, side)
        assert logits.dtype == torch.float32
        loss = nn.functional.cross_entropy(logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    changed = [name for name, value in model.named_parameters() if not torch.equal(value, before[name])]
    assert any(name.startswith("encoder.") for name in changed)
    assert any(name.startswith("segmentation_head.") for name in changed)

    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 3, side, side + 32)).shape == (1, CLASSES, side, side + 32)

    again = build(config)
    assert all(torch.equal(value, before[name]) for name, value in again.named_parameters())


def trains_on(model, images):
    """Whether a training step's forward pass works; what BatchNorm says of a single value a channel is a no."""
    try:
        model.train()(images)
    except ValueError as error:
        assert "more than 1 value per channel" in str(error)  # noqa: PT017 (a helper, no test)
        return False
    return True


def test_the_smallest_batch_is_what_training_takes(case):
    """As BatchNorm itself sees it, at the crop and at one so small that the encoder's last map is a single pixel."""
    config, side = case
    model = build(config)
    for crop in {(side, side), (side, 2 * side)} | ({(32, 32)} if config.architecture == "unet" else set()):
        smallest = smallest_batch(model, crop)
        assert trains_on(model, torch.zeros(smallest, 3, *crop))
        assert smallest == 1 or not trains_on(model, torch.zeros(1, 3, *crop))


def test_deeplab_needs_two_crops_and_unet_one_unless_its_last_map_is_a_pixel():
    models = {name: build(ModelConfig(architecture=name, encoder=TINY, encoder_weights="none"))
              for name in ("unet", "deeplabv3", "deeplabv3plus")}  # fmt: skip
    assert {name: smallest_batch(model, (64, 64)) for name, model in models.items()} == {
        "unet": 1, "deeplabv3": 2, "deeplabv3plus": 2,
    }  # fmt: skip
    assert smallest_batch(models["unet"], (32, 32)) == 2


def test_asking_for_the_smallest_batch_leaves_the_network_as_it_was():
    model = build(ModelConfig(architecture="deeplabv3plus", encoder=TINY, encoder_weights="none")).train()
    model.encoder.eval()  # as who freezes an encoder's statistics does
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    assert smallest_batch(model, (64, 64)) == 2
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    with pytest.raises(RuntimeError, match=r"[Ww]rong input shape"):
        smallest_batch(model, (33, 33))
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("encoder", [TINY, "resnet18", "tu-resnet18"])
def test_output_stride_means_the_same_for_both_deeplabs(encoder, stride):
    sides = set()
    for architecture in ("deeplabv3", "deeplabv3plus"):
        config = ModelConfig(architecture=architecture, encoder=encoder, encoder_weights="none", output_stride=stride)
        with torch.no_grad():
            sides.add(build(config).eval().encoder(torch.zeros(1, 3, 128, 128))[-1].shape[-1])
    assert sides == {128 // stride}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_config_has_an_output_stride_where_the_network_takes_one(architecture):
    """A config is read without the library, so that its words are held against the library here."""
    taken = inspect.signature(load_class(ARCHITECTURES[architecture].implementation)).parameters
    takes_it = "encoder_output_stride" in taken
    assert ("output_stride" in model_parameters(architecture)) == takes_it
    for given in ({}, {"output_stride": 16}, {"output_stride": None}):
        assert ModelConfig(architecture=architecture, **given).output_stride == (16 if takes_it else None)


def test_the_default_output_stride_is_the_same_for_both_deeplabs():
    configs = [
        ModelConfig(architecture=name, encoder=TINY, encoder_weights="none") for name in ("deeplabv3", "deeplabv3plus")
    ]
    with torch.no_grad():
        shapes = [build(config).eval().encoder(torch.zeros(1, 3, 64, 64))[-1].shape[-1] for config in configs]
    assert shapes == [4, 4]


@pytest.mark.parametrize("encoder", [TINY, "resnet18", "mobilenet_v2", "tu-resnet18"])
def test_a_file_of_encoder_weights_is_loaded(tmp_path, encoder):
    path = tmp_path / "encoder.pt"
    config = ModelConfig(architecture="unet", encoder=encoder, encoder_weights="none")
    donor = build(config, seed=1).encoder
    torch.save(donor.state_dict(), path)
    plain = build(config)
    loaded = build(config.model_copy(update={"encoder_weights": str(path)}))
    for name, value in loaded.encoder.state_dict().items():
        assert torch.equal(value, donor.state_dict()[name])
    assert any(not torch.equal(value, plain.encoder.state_dict()[name]) for name, value in donor.state_dict().items())
    for name, value in loaded.decoder.state_dict().items():
        assert torch.equal(value, plain.decoder.state_dict()[name])


class Malice:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def other_encoder(path):
    config = ModelConfig(architecture="unet", encoder="mobilenet_v2", encoder_weights="none")
    torch.save(build(config).encoder.state_dict(), path)


def garbage(path):
    path.write_bytes(b"no weights")


def malice(path):
    torch.save(Malice(path.with_name("executed")), path)


def plain_pickle(path):
    path.write_bytes(pickle.dumps(Malice(path.with_name("executed"))))


@pytest.mark.parametrize("write", [other_encoder, garbage, malice, plain_pickle])
def test_a_wrong_file_of_encoder_weights_is_refused(tmp_path, write):
    path = tmp_path / "encoder.pt"
    write(path)
    config = ModelConfig(architecture="unet", encoder=TINY, encoder_weights=str(path))
    with pytest.raises(InputError, match=rf"must be a state dict of {TINY}.*; got .*encoder\.pt: .*Save it with"):
        build(config)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "resnet19"}, r"model\.encoder must be .*; got 'resnet19'\. Did you mean resnet\d+\? See smp\."),
        ({"encoder": "tu-resnet19"}, r"model\.encoder must be .*; got 'tu-resnet19'\."),
        ({"encoder": "timm-nothing"}, r"model\.encoder must be .*; got 'timm-nothing'\."),
        ({"encoder_weights": "noisy"}, r"encoder_weights must be imagenet, none or .*; got 'noisy'\. Give the path"),
        ({"encoder_weights": "/"}, r"encoder_weights must be imagenet, none or .*; got '/'\."),
    ],
)
def test_unknown_names_are_refused_without_building(change, message, monkeypatch):
    monkeypatch.setattr(model_module, "_create", None)
    config = ModelConfig(**({"architecture": "unet", "encoder": TINY, "encoder_weights": "none"} | change))
    for function in (check_names, lambda config: build_model(config, CLASSES)):
        with pytest.raises(InputError, match=message):
            function(config)


@pytest.mark.parametrize(
    "encoder", [TINY, "resnet18", "mit_b0", "tu-resnet18", "tu-resnet18.a1_in1k", "timm-regnetx_002"]
)
def test_names_of_both_libraries_are_known(encoder):
    known = ModelConfig(encoder=encoder, encoder_weights="none")
    check_names(known)
    with pytest.raises(InputError, match="must be an encoder"):
        check_names(known.model_copy(update={"encoder": f"no-such-{encoder}"}))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architecture": "unetplusplus", "encoder": "mit_b0"}, "not support"),
        ({"architecture": "dpt", "encoder": "resnet18"}, "Only Timm encoders"),
        ({"architecture": "pan", "encoder": TINY, "output_stride": 8}, "16 or 32"),
    ],
)
@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_a_combination_that_the_library_refuses_says_why(config, reason, weights, offline):
    with pytest.raises(
        InputError, match=rf"model must be a combination .*; got ValueError: .*{reason}.*Choose another"
    ):
        build(ModelConfig(**config, encoder_weights=weights))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No hub, no cache of it, and no waiting for either."""

    def refuse(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("encoder", [TINY, "resnet18", "mobilenet_v2", "tu-resnet18", "mit_b0"])
def test_imagenet_without_a_network_names_the_remedies(encoder):
    message = (
        rf"encoder_weights imagenet must be downloadable for {encoder}; got \w+Error: .*"
        r"Check the network .*, give the path of a downloaded state dict, or set model\.encoder_weights=none"
    )
    with pytest.raises(InputError, match=message):
        build(ModelConfig(architecture="unet", encoder=encoder, encoder_weights="imagenet"))


def test_weights_files_are_found_by_path_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(
        build(ModelConfig(architecture="unet", encoder=TINY, encoder_weights="none")).encoder.state_dict(), "w.pt"
    )
    assert Path("w.pt").is_file()
    check_names(ModelConfig(encoder=TINY, encoder_weights="w.pt"))
