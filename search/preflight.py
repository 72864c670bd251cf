"""What can be known to fail is found before a process is started or a folder is written."""

from itertools import product

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from search.baselines import baseline_points
from search.conductor import trial_config
from search.config import SearchConfig
from search.sampler import suggest_point
from search.space import Choice, Fixed, Space, Value
from trainable.config import DataConfig, ModelConfig, Objective
from trainable.errors import InputError
from trainable.model import build_model
from trainable.trial_data import TrialData


def check_search(config: SearchConfig, num_classes: int) -> None:
    """Check the points that a search may try.

    Every network of the space is built once, which also fetches the encoders' weights; every baseline and a random
    point are resolved.

    Raises:
        InputError: Something would fail in every trial, or in all of one kind.
    """
    points = baseline_points(config.baselines, config.parsed_space)
    points.append(suggest_point(config.parsed_space, [], config.seed, 0))
    for point in points:
        _check_point(config, point)
    crops = crop_sizes(config.parsed_space)
    for model in model_configs(config.parsed_space):
        network = build_model(model, num_classes)
        for crop in crops:
            _require_fit(network, model.architecture, crop)


def crop_sizes(space: Space) -> list[tuple[int, int]]:
    """All crop sizes of a space, height and width."""
    match space.domains.get("data.crop"):
        case Choice(values):
            texts: tuple[Value, ...] = values
        case Fixed(value):
            texts = (value,)
        case _:
            texts = (DataConfig().crop,)
    return [DataConfig(crop=str(text)).crop_size for text in texts]


@torch.no_grad()
def _require_fit(network: nn.Module, architecture: str, crop: tuple[int, int]) -> None:
    """Some architectures pool by fixed steps and fail on small crops, long after they were built."""
    try:
        network.eval()(torch.zeros(1, 3, *crop))
    except Exception as error:  # whatever the network raises
        raise InputError(
            f"data.crop must be a size that {architecture} can be trained on",
            f"{crop[0]}x{crop[1]}: {' '.join(str(error).split())[:200]}",
            "Use larger crops, or leave this architecture out",
        ) from error


def check_objective(objective: Objective, data: TrialData) -> None:
    """Check that the objective exists on dev.

    Raises:
        InputError: It would be undefined in every trial.
    """
    occurring = np.flatnonzero(data.cache.pixel_counts[list(data.splits.dev)].sum(axis=0) > 0)
    if objective == "thing_miou" and not set(occurring.tolist()) & set(data.image_set.thing_labels):
        things = [data.image_set.classes[label].name for label in data.image_set.thing_labels]
        raise InputError(
            "objective thing_miou needs a thing class that occurs on dev",
            f"things {', '.join(things)}, none of them on dev" if things else "an image set without things",
            "Mark countable classes with `thing: true`, hold other scenes out for dev, or set objective=miou",
        )


def model_configs(space: Space) -> list[ModelConfig]:
    """All networks of a space."""
    keys = [key for key in space.domains if key.startswith("model.")]
    options: list[tuple[Value, ...]] = []
    for key in keys:
        match space.domains[key]:
            case Fixed(value):
                options.append((value,))
            case Choice(values):
                options.append(values)
            case domain:
                raise TypeError(f"{key} has no finite choice: {domain}")
    names = [key.removeprefix("model.") for key in keys]
    return [ModelConfig.model_validate(dict(zip(names, chosen, strict=True))) for chosen in product(*options)]


def _check_point(config: SearchConfig, point: dict[str, Value]) -> None:
    try:
        trial_config(config, point)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError("every point of the space must be a valid trial", point, message.rstrip(".")) from error
