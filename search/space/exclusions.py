"""Networks that a space leaves out: `space.model.exclude`, for combinations that cannot be trained."""

import difflib
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any, Final

from search.space.space import Choice, Domain, Fixed, Space, Value, values_of
from trainable.config.config_problem import raise_all, show
from trainable.errors import InputError

EXCLUDE: Final = "exclude"
"""The key of `space.model`."""

_KEYS: Final = ("architecture", "encoder", "encoder_weights", "output_stride")
_EXAMPLE: Final = "Write for example exclude: [{architecture: fpn, encoder: resnet18}]"


def without_exclusions(section: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of a section that are searched."""
    return {key: value for key, value in given.items() if key != EXCLUDE} if section == "model" else given


def parse_exclusions(given: Any, domains: Mapping[str, Domain]) -> tuple[dict[str, Value], ...]:
    """Read `space.model.exclude`.

    Args:
        given: A list of mappings; a network that has all values of one of them is left out.
        domains: Of the space, by flat key.

    Returns:
        Each as values by flat key.

    Raises:
        InputError: Values that the space does not have, or no network is left: all of them.
    """
    if given is None:
        return ()
    if not isinstance(given, list) or not all(isinstance(entry, Mapping) and entry for entry in given):
        raise InputError("space.model.exclude must be a list of combinations", show(given), _EXAMPLE)
    problems = [
        problem
        for place, entry in enumerate(given)
        for key, value in entry.items()
        if (problem := _problem(f"space.model.exclude[{place}]", str(key), value, domains))
    ]
    raise_all(problems)
    excluded = tuple({f"model.{key}": value for key, value in entry.items()} for entry in given)
    if excluded and not allowed_models(Space(domains, excluded)):
        rule = "space.model.exclude must leave a network in the space"
        raise InputError(rule, show(given), "Remove one of its entries, or add architectures or encoders")
    return excluded


def _problem(where: str, key: str, value: Any, domains: Mapping[str, Domain]) -> InputError | None:
    domain = domains.get(f"model.{key}")
    if key not in _KEYS or not isinstance(domain, Choice | Fixed):
        named = [name for name in _KEYS if f"model.{name}" in domains]
        rule = f"{where} may name {', '.join(named) or 'keys'} of space.model"
        return InputError(rule, f"{key}: {show(value)}", _EXAMPLE if not named else f"Remove {key}")
    values = values_of(domain)
    if value in values:
        return None
    close = difflib.get_close_matches(str(value), [str(each) for each in values], n=1)
    remedy = f"Did you mean {close[0]}?" if close else "Remove it: what the space does not have needs no exclusion"
    return InputError(f"{where}.{key} must be a value of space.model.{key}", show(value), remedy)


def allowed_models(space: Space) -> list[dict[str, Value]]:
    """What is left of all combinations of the keys that exclusions name; one of nothing without exclusions."""
    keys = [key for key in space.domains if any(key in entry for entry in space.excluded)]
    points = (dict(zip(keys, values, strict=True)) for values in product(*(values_of(space.domains[k]) for k in keys)))
    return [point for point in points if not space.excludes(point)]


def completed_model(given: Mapping[str, Value], space: Space, where: str) -> dict[str, Value]:
    """A point with the first network that agrees with it and is left in the space.

    Args:
        given: Some values, by flat key.
        space: The space.
        where: For the message.

    Raises:
        InputError: None does.
    """
    for model in allowed_models(space):
        if all(given.get(key, value) == value for key, value in model.items()):
            return {**{key: value for key, value in model.items() if space.has(key, {**model, **given})}, **given}
    named = {key: value for key, value in given.items() if key.startswith("model.")}
    rule = f"{where} must name a network that space.model.exclude leaves in the space"
    raise InputError(
        rule, ", ".join(f"{key}={value}" for key, value in named.items()), "Name another network, or remove it"
    )


def is_left(given: Mapping[str, Value], space: Space) -> bool:
    """Whether a network that agrees with these values is left in a space."""
    return any(all(given.get(key, value) == value for key, value in model.items()) for model in allowed_models(space))


def fewest_exclusions(
    refused: Sequence[Mapping[str, Value]], passing: Sequence[Mapping[str, Value]]
) -> list[dict[str, Value]]:
    """Exclusions that leave out networks and spare others, each by as few keys as do.

    Args:
        refused: To be left out, by flat key.
        passing: To be spared.

    Returns:
        Values by flat key; empty where there is nothing to be spared, or a network cannot be told from one that is.
    """
    entries: list[dict[str, Value]] = []
    if not passing:
        return []
    for point in refused:
        if any(_holds(point, entry) for entry in entries):
            continue
        keys = [f"model.{key}" for key in _KEYS if f"model.{key}" in point and _varies(key, refused, passing)]
        chosen = (
            {key: point[key] for key in some} for count in range(1, len(keys) + 1) for some in combinations(keys, count)
        )
        entry = next((e for e in chosen if not any(_holds(other, e) for other in passing)), None)
        if entry is None:
            return []
        entries.append(entry)
    return entries


def _varies(key: str, *points: Sequence[Mapping[str, Value]]) -> bool:
    return len({point.get(f"model.{key}") for some in points for point in some}) > 1


def _holds(point: Mapping[str, Value], entry: Mapping[str, Value]) -> bool:
    return all(point.get(key) == value for key, value in entry.items())
