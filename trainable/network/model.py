"""The segmentation networks: those of segmentation_models_pytorch by name, and classes of the user's own."""

import difflib
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainable.config.architectures import ARCHITECTURES
from trainable.config.sections import ModelConfig
from trainable.config.user_class import construct, in_one_line, is_reference, load_class
from trainable.errors import InputError

_WEIGHTS: Final = ("imagenet", "none")


def build_model(config: ModelConfig, num_classes: int) -> nn.Module:
    """Build the network; random weights come from torch's global generator.

    A class of the user's own is made with `num_classes`, its options, and those of `encoder`, `encoder_weights` and
    `output_stride` that its constructor takes; whether these mean anything is up to it.

    Args:
        config: What to build.
        num_classes: Channels of the logits, >= 2.

    Returns:
        A module that maps float NCHW images, normalised with ImageNet's mean and standard deviation, to
        logits_NCHW of the same height and width.

    Raises:
        InputError: An unknown name, weights that cannot be had, or a combination that the library refuses.
    """
    check_names(config)
    if is_reference(config.architecture):
        return _create_own(config, num_classes)
    model = _create(config, num_classes)
    if config.encoder_weights not in _WEIGHTS:
        _load_encoder(model, Path(config.encoder_weights), config.encoder)
    return model


def check_names(config: ModelConfig) -> None:
    """Check the names of a model config without building anything.

    Raises:
        InputError: An unknown encoder, a weights file that is not there, or a class of the user's own
            that cannot be had or is no module.
    """
    if is_reference(config.architecture):
        _require_module(config.architecture)
        return
    if not _encoder_exists(config.encoder):
        raise InputError(
            "model.encoder must be an encoder of segmentation_models_pytorch, or tu-NAME for one of timm",
            repr(config.encoder),
            f"{_meant(config.encoder, _encoders())}See smp.encoders.get_encoder_names() and timm.list_models()",
        )
    if config.encoder_weights not in _WEIGHTS and not Path(config.encoder_weights).is_file():
        raise InputError(
            "model.encoder_weights must be imagenet, none or the path of a state dict",
            repr(config.encoder_weights),
            f"{_meant(Path(config.encoder_weights).name, _WEIGHTS)}Give the path of an existing file, or set it to "
            "none to train from random weights",
        )


@torch.no_grad()
def smallest_batch(network: nn.Module, crop: tuple[int, int]) -> int:
    """The fewest crops that a network can be trained on at a time.

    Args:
        network: Maps float images_NCHW to logits. It is left as it is: its modes, its weights, its running statistics.
        crop: Height and width of a crop in pixels.

    Returns:
        2 where a BatchNorm layer sees one value a channel for one crop (it pools to 1x1) and so has no variance to
        divide by; else 1.
    """
    alone = False

    def look(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal alone
        (values_NC,) = inputs
        alone = alone or values_NC.numel() == values_NC.shape[1]

    modes = [(module, module.training) for module in network.modules()]
    hooks = [module.register_forward_pre_hook(look) for module, _ in modes if isinstance(module, _BatchNorm)]
    device = next((weights.device for weights in network.parameters()), torch.device("cpu"))
    try:
        network.eval()(torch.zeros(1, 3, *crop, device=device))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return 2 if alone else 1


def _require_module(architecture: str) -> None:
    found = load_class(architecture)
    if not issubclass(found, nn.Module):
        raise InputError(
            f"{architecture} must be a torch.nn.Module",
            f"a class derived from {', '.join(base.__name__ for base in found.__bases__)}",
            "Derive it from torch.nn.Module and define forward(images_NCHW) -> logits_NCHW",
        )


def _create_own(config: ModelConfig, num_classes: int) -> nn.Module:
    offered = {name: getattr(config, name) for name in ("encoder", "encoder_weights", "output_stride")}
    model: nn.Module = construct(config.architecture, config.options | {"num_classes": num_classes}, offered)
    return model


def _meant(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1)
    return f"Did you mean {close[0]}? " if close else ""


def _encoders() -> list[str]:
    """The encoders of both libraries, as a config names them."""
    return [*smp.encoders.get_encoder_names(), *(f"tu-{name}" for name in timm.list_models(pretrained=False))]


def _encoder_exists(name: str) -> bool:
    if name in smp.encoders.get_encoder_names():
        return True
    prefix, _, timm_name = name.partition("-")
    known = {entry.partition(".")[0] for entry in timm.list_models(pretrained=False)}
    base = timm_name.partition(".")[0]
    return (prefix == "tu" and base in known) or (prefix == "timm" and bool({base, f"tf_{base}"} & known))


def _create(config: ModelConfig, num_classes: int) -> nn.Module:
    entry = ARCHITECTURES[config.architecture]
    architecture, options = load_class(entry.implementation), dict(entry.options)
    if entry.has_output_stride:
        options["encoder_output_stride"] = config.output_stride
    weights = "imagenet" if config.encoder_weights == "imagenet" else None
    try:
        with warnings.catch_warnings():
            # smp deprecates its `timm-` prefix in favour of `tu-`; configs in the wild use both.
            warnings.simplefilter("ignore")
            model: nn.Module = architecture(
                encoder_name=config.encoder, encoder_weights=weights, classes=num_classes, **options
            )
    except Exception as error:
        raise _refusal(config, error) from error
    return model


def _refusal(config: ModelConfig, error: Exception) -> InputError:
    what = f"{config.architecture} with {config.encoder}"
    if config.encoder_weights == "imagenet" and not isinstance(error, (ValueError, TypeError)):
        return InputError(
            f"model.encoder_weights imagenet must be downloadable for {config.encoder}",
            _short(error),
            "Check the network (or the proxy), give the path of a downloaded state dict, or set "
            "model.encoder_weights=none to train from random weights",
        )
    return InputError(
        f"model must be a combination that segmentation_models_pytorch can build ({what})",
        _short(error),
        "Choose another encoder or output_stride for this architecture",
    )


def _short(error: Exception) -> str:
    """The error in one line; torch's own words on a refused pickle advise to execute it."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something else than weights, or is damaged"
    return in_one_line(error).rstrip(".")


def _load_encoder(model: nn.Module, path: Path, encoder: str) -> None:
    try:
        # Strictly weights: a pickle from anywhere else is never executed.
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.get_submodule("encoder").load_state_dict(state)
    except Exception as error:
        raise InputError(
            f"model.encoder_weights must be a state dict of {encoder} that loads with weights_only",
            f"{path}: {_short(error)}",
            "Save it with torch.save(encoder.state_dict(), path) from the same encoder",
        ) from error
