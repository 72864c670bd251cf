"""Points that are tried first: the seed study's fifteen combinations, or the user's own."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from search.space import Choice, Domain, Fixed, Range, Space, Value, exists
from trainable.errors import InputError

SEED_VALUES: Final[dict[str, Value]] = {
    "loss.alpha": 0.7,
    "loss.beta": 0.3,
    "loss.gamma": 1.0,
    "loss.focal_gamma": 2.0,  # the seed study does not state its own; Lin et al. 2017 found 2 to work best
    "optimizer.learning_rate": 1e-3,
    "data.rare_class_first": 0.0,
}
"""The settings of the study that this project starts from: one Tversky, Adam at 1e-3, no resampling."""

_COMBINED: Final = ("loss.name", "model.architecture")


def baseline_points(
    baselines: Literal["seed", "none"] | Sequence[Mapping[str, Any]], space: Space
) -> list[dict[str, Value]]:
    """The points to try first, as all values that exist at each, by flat key.

    Args:
        baselines: `seed`, `none`, or points as (nested or flat) mappings; what a point leaves out takes the seed
            study's value, else the first of a choice or the middle of a range.
        space: What is searched.

    Raises:
        InputError: A point lies outside of the space.
    """
    if baselines == "none":
        return []
    if baselines == "seed":
        return _seed_points(space)
    points: list[dict[str, Value]] = []
    for place, given in enumerate(baselines):
        points.append(_complete(_flat(given), space, f"baselines[{place}]"))
    return points


def _seed_points(space: Space) -> list[dict[str, Value]]:
    """Every loss with every architecture of the space; keys that are fixed stay fixed."""
    combinations: list[dict[str, Value]] = [{}]
    for key in _COMBINED:
        domain = space.domains.get(key)
        values = domain.values if isinstance(domain, Choice) else ()
        combinations = [point | {key: value} for point in combinations for value in values] or combinations
    return [_complete(point, space, "baselines: seed") for point in combinations]


def _complete(given: Mapping[str, Value], space: Space, where: str) -> dict[str, Value]:
    for key in given:
        if key not in space.domains:
            raise InputError(
                f"{where} may only name keys of the space", key, f"Add space.{key}, or remove it from the baseline"
            )
    point: dict[str, Value] = {}
    for key, domain in space.domains.items():
        if exists(key, point):
            point[key] = _value(key, domain, given, where)
    unused = set(given) - set(point)
    if unused:
        raise InputError(
            f"{where} names a parameter that its loss does not have", ", ".join(sorted(unused)), "Remove it"
        )
    return point


def _value(key: str, domain: Domain, given: Mapping[str, Value], where: str) -> Value:
    if key in given:
        return _require_inside(key, given[key], domain, where)
    if isinstance(domain, Fixed):
        return domain.value
    if key in SEED_VALUES:
        return _require_inside(key, SEED_VALUES[key], domain, where)
    return _middle(domain)


def _middle(domain: Choice | Range) -> Value:
    if isinstance(domain, Choice):
        return domain.values[0]
    middle = math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
    return round(middle) if domain.integer else middle


def _require_inside(key: str, value: Value, domain: Domain, where: str) -> Value:
    match domain:
        case Fixed(fixed):
            inside, allowed = value == fixed, f"{fixed}"
        case Choice(values):
            inside, allowed = value in values, f"one of {list(values)}"
        case Range(low, high):
            inside, allowed = isinstance(value, (int, float)) and low <= value <= high, f"{low}..{high}"
    if not inside:
        raise InputError(
            f"{where} must lie in the space, and space.{key} is {allowed}",
            f"{key}={value}",
            f"Widen space.{key}, or set `baselines: none` or a list of points",
        )
    return value


def _flat(given: Mapping[str, Any]) -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat
