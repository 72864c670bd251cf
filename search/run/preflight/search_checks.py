"""A search against its space and its images: names, objectives, batches, and what a random point gives."""

import difflib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pydantic import ValidationError

from search.config.search_config import SearchConfig
from search.decide.sampler import suggest_point
from search.decide.search_plan import trial_config
from search.run.preflight.network_checks import Size, batch_sizes, check_networks, model_configs
from search.space.baselines import baseline_points
from search.space.space import (
    OPTIONS,
    Fixed,
    Space,
    Value,
    exists,
    highest,
    lowest,
    nested,
    values_of,
)
from trainable.config.config_problem import flatten, raise_all
from trainable.config.loss_config import LossConfig
from trainable.config.metric_registry import METRICS
from trainable.config.sections import DataConfig
from trainable.config.user_class import is_reference, load_class
from trainable.data.image_set import ImageSet
from trainable.data.trial_data import TrialData
from trainable.errors import InputError
from trainable.losses.user_loss import check_loss
from trainable.network.model import check_names as check_model_names
from trainable.record.metric_names import metric_safe
from trainable.trial_config import TrialConfig


def check_search(config: SearchConfig, num_classes: int, views: Sequence[Size] = ()) -> None:
    """Check the points that a search may try; `check_names` comes first.

    Every network of the space is built once, which also fetches the encoders' weights, and tried on the sizes that it
    will see; every baseline and a random point are resolved; every loss of the user's own is tried on a small batch.

    Args:
        config: The search.
        num_classes: Of the image set.
        views: What evaluation shows a network, as of `search.run.preflight.network_checks.evaluation_views`.

    Raises:
        InputError: Something would fail in every trial, or in all of one kind.
    """
    points = baseline_points(config.baselines, config.parsed_space)
    points.append(suggest_point(config.parsed_space, [], config.seed, 0))
    losses = [_resolve(config, point).loss for point in points]
    for loss in user_losses(config.parsed_space, losses):
        check_loss(loss, num_classes)
    check_networks(config.parsed_space, num_classes, views)


def check_names(space: Space) -> None:
    """Check what needs no image: the names of encoders, the files of weights, the classes of the user's own.

    Raises:
        InputError: All that cannot be had.
    """
    problems: dict[str, InputError] = {}
    checks: list[Callable[[], object]] = [partial(check_model_names, model) for model in model_configs(space)]
    checks += [partial(load_class, loss.name) for loss in user_losses(space)]
    for check in checks:
        try:
            check()
        except InputError as error:
            problems[str(error)] = error
    raise_all(list(problems.values()))


def check_data(config: SearchConfig, data: TrialData) -> None:
    """Check a search against its images: the objectives exist, and an epoch has a batch.

    Raises:
        InputError: All that does not go together.
    """
    problems: list[InputError] = []
    try:
        check_objective(config.objectives, data)
    except InputError as error:
        problems += flatten(error)
    most = int(highest(batch_sizes(config.parsed_space)))
    crops = int(lowest(config.parsed_space.domains.get("data.crops_per_image", Fixed(DataConfig().crops_per_image))))
    images = len(data.splits.train)
    if most > images * crops:
        rule = f"data.batch_size must be at most an epoch's crops ({images} images, data.crops_per_image {crops})"
        problems.append(InputError(rule, most, "Lower it, or raise data.crops_per_image"))
    raise_all(problems)


def check_objective(objectives: Sequence[str], data: TrialData) -> None:
    """Check that the objectives exist on dev.

    Raises:
        InputError: One would be undefined in every trial; all of them are named.
    """
    on_dev = np.flatnonzero(data.cache.pixel_counts[list(data.splits.dev)].sum(axis=0) > 0).tolist()
    problems = [_objective_problem(name, data.image_set, set(on_dev)) for name in objectives]
    raise_all([problem for problem in problems if problem])


def _objective_problem(objective: str, image_set: ImageSet, on_dev: set[int]) -> InputError | None:
    kind, slash, class_name = objective.partition("/")
    if slash:
        return _class_problem(objective, kind, class_name, image_set, on_dev)
    entry = METRICS[kind]
    if (entry.over == "things" or entry.of_objects) and not on_dev & set(image_set.thing_labels):
        things = [image_set.classes[label].name for label in image_set.thing_labels]
        return InputError(
            f"objective {objective} needs a thing class that occurs on dev",
            f"things {', '.join(things)}, none of them on dev" if things else "an image set without things",
            "Mark countable classes with `thing: true`, hold other scenes out for dev, or set objective=miou",
        )
    return None


def _class_problem(
    objective: str, kind: str, class_name: str, image_set: ImageSet, on_dev: set[int]
) -> InputError | None:
    # A metric has its class's name in the characters that are safe for all trackers.
    labels = {metric_safe(entry.name): label for label, entry in enumerate(image_set.classes)}
    label = labels.get(metric_safe(class_name))
    if label is None:
        close = difflib.get_close_matches(class_name, labels, n=1)
        return InputError(
            f"objective {objective} must name a class of {image_set.name}",
            class_name,
            (f"Did you mean {kind}/{close[0]}? " if close else "") + f"The classes are {', '.join(labels)}",
        )
    if label not in on_dev:
        rule = f"objective {objective} needs a class that occurs on dev"
        return InputError(rule, f"no pixel of {class_name} there", "Hold other scenes out for dev, or choose another")
    if METRICS[kind].of_objects and label not in image_set.thing_labels:
        return InputError(
            f"objective {objective} counts objects and needs a thing class",
            f"{class_name}, which is stuff",
            f"Mark it with `thing: true` if it is countable, or use recall/{class_name}",
        )
    return None


def user_losses(space: Space, resolved: Sequence[LossConfig] = ()) -> list[LossConfig]:
    """The user's own losses: all that the space names at the two ends of their options, and those resolved."""
    names = [str(name) for name in values_of(space.domains.get("loss.name", Fixed("")))]
    losses = [_at_end(space, name, end) for name in names if is_reference(name) for end in (0, -1)]
    losses += [loss for loss in resolved if is_reference(loss.name)]
    return [loss for place, loss in enumerate(losses) if loss not in losses[:place]]


def _at_end(space: Space, name: str, end: int) -> LossConfig:
    """A loss with the first or the last values of all its options."""
    point: dict[str, Value] = {"loss.name": name}
    for key, domain in space.domains.items():
        if key.startswith(f"loss.{OPTIONS}") and exists(key, point):
            point[key] = values_of(domain)[end]
    return LossConfig.model_validate(nested(point)["loss"])


def _resolve(config: SearchConfig, point: dict[str, Value]) -> TrialConfig:
    try:
        return trial_config(config, point)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError("every point of the space must be a valid trial", point, message.rstrip(".")) from error
