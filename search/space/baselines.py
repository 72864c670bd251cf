"""Points that are tried first: the seed study's fifteen combinations, strong ones, or the user's own."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from search.space.exclusions import completed_model, is_left
from search.space.space import OPTIONS, SECTIONS, Choice, Domain, Fixed, Range, Space, Value, flat, highest, values_of
from trainable.config.config_problem import show, unknown_key
from trainable.errors import InputError

SEED_VALUES: Final[dict[str, Value]] = {
    "loss.alpha": 0.7,
    "loss.beta": 0.3,
    "loss.gamma": 1.0,
    "loss.focal_gamma": 2.0,  # the seed study does not state its own; Lin et al. 2017 found 2 to work best
    "loss.pixel": "cross_entropy",
    "loss.region": "dice",
    "loss.region_weight": 0.5,
    "loss.class_weight_power": 0.0,
    "optimizer.learning_rate": 1e-3,
    "data.rare_class_first": 0.0,
    "data.copy_paste": 0.0,
}
"""The settings of the study that this project starts from: one Tversky, Adam at 1e-3, nothing weighted or resampled.

A compound, which that study did not have, is cross entropy and Dice in equal parts.
"""

STRONG_LOSSES: Final[tuple[dict[str, Value], ...]] = (
    {"loss.name": "cross_entropy", "loss.class_weight_power": 0.5},
    {"loss.name": "compound", "loss.pixel": "cross_entropy", "loss.region": "dice", "loss.region_weight": 0.5},
    {"loss.name": "focal", "loss.focal_gamma": 2.0},
    {"loss.name": "tversky", "loss.alpha": 0.7, "loss.beta": 0.3, "loss.gamma": 1.0},
)
"""What the field holds against rare classes: a new loss is worth its name where it beats these, not plain Dice."""


def baseline_points(
    baselines: Literal["seed", "strong", "none"] | Sequence[Mapping[str, Any]], space: Space
) -> list[dict[str, Value]]:
    """The points to try first, as all values that exist at each, by flat key.

    Args:
        baselines: `seed`, `strong`, `none`, or points as (nested or flat) mappings; what a point leaves out takes the
            seed study's value, else the first of a choice or the middle of a range.
        space: What is searched.

    Raises:
        InputError: A point lies outside of the space.
    """
    if isinstance(baselines, str):
        return _NAMED[baselines](space)
    points: list[dict[str, Value]] = []
    for place, given in enumerate(baselines):
        points.append(_complete(flat(given), space, f"baselines[{place}]"))
    return points


def _seed_points(space: Space) -> list[dict[str, Value]]:
    """Every loss of the space with every architecture of the space; keys that are fixed stay fixed."""
    losses = _each_value("loss.name", space)
    return [_complete(loss | model, space, "baselines: seed") for loss in losses for model in _each_model(space)]


def _strong_points(space: Space) -> list[dict[str, Value]]:
    """The strong losses with every architecture of the space; keys that are fixed stay fixed."""
    _require_strong_losses(space)
    points = []
    for loss in STRONG_LOSSES:
        searched = {
            key: value
            for key, value in loss.items()
            if key in space.domains and not isinstance(space.domains[key], Fixed)
        }
        points += [_complete(searched | model, space, "baselines: strong") for model in _each_model(space)]
    return points


def _require_strong_losses(space: Space) -> None:
    """Check that the space has what cannot be left to a default: the four losses, and weights of the classes."""
    names = values_of(space.domains.get("loss.name", Fixed("cross_entropy")))
    strong = [str(loss["loss.name"]) for loss in STRONG_LOSSES]
    missing = [name for name in strong if name not in names]
    if missing:
        raise InputError(
            f"baselines: strong needs {', '.join(strong[:-1])} and {strong[-1]} in space.loss.name",
            f"no {', '.join(missing)}",
            f"Add {' and '.join(missing)} to space.loss.name, or choose other baselines",
        )
    power = space.domains.get("loss.class_weight_power", Fixed(0.0))
    if highest(power) == 0:
        raise InputError(
            "baselines: strong needs a space.loss.class_weight_power above 0, for its class-weighted cross entropy",
            "0" if "loss.class_weight_power" in space.domains else "none",
            "Write class_weight_power: {low: 0.0, high: 1.0} into space.loss, or choose other baselines",
        )


_NAMED: Final[dict[str, Callable[[Space], list[dict[str, Value]]]]] = {
    "none": lambda space: [],
    "seed": _seed_points,
    "strong": _strong_points,
}


def _each_model(space: Space) -> list[dict[str, Value]]:
    return [model for model in _each_value("model.architecture", space) if is_left(model, space)]


def _each_value(key: str, space: Space) -> list[dict[str, Value]]:
    """A point for each value that is searched; one without the key where it is not."""
    domain = space.domains.get(key)
    return [{key: value} for value in domain.values] if isinstance(domain, Choice) else [{}]


def _complete(given: Mapping[str, Value], space: Space, where: str) -> dict[str, Value]:
    for key, value in given.items():
        if key not in space.domains:
            _require_known(key, value, where)
            raise InputError(
                f"{where} may only name keys of the space", key, f"Add space.{key}, or remove it from the baseline"
            )
    given = completed_model(given, space, where)
    point: dict[str, Value] = {}
    for key, domain in space.domains.items():
        if space.has(key, point):
            point[key] = _value(key, domain, given, where)
    # A network's are left out, as where a search fixes an output stride for several networks of which some have none.
    unused = {key for key in set(given) - set(point) if not key.startswith("model.") or OPTIONS in key}
    if unused:
        raise InputError(
            f"{where} names a parameter that its loss or its network does not have",
            ", ".join(sorted(unused)),
            "Remove it",
        )
    return point


def _require_known(key: str, value: object, where: str) -> None:
    """Refuse what is no key of any space."""
    section, _, name = key.partition(".")
    if key in SECTIONS:
        rule = f"{where} must map {key} to keys and values"
        raise InputError(rule, show(value), f"Write {{{key}: {{KEY: VALUE}}}}")
    fields = SECTIONS[section].model_fields if section in SECTIONS else None
    if fields is None or name.partition(".")[0] not in fields:
        everywhere = [f"{other}.{field}" for other, kind in SECTIONS.items() for field in kind.model_fields]
        meant = (
            unknown_key(key, value, fields, everywhere) if fields else unknown_key(section, value, SECTIONS, everywhere)
        )
        raise InputError(f"{where} must name keys of a space", f"{key}: {show(value)}", meant.remedy)


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
    found = _inside(value, domain)
    if found is None:
        raise InputError(
            f"{where} must lie in the space, and space.{key} is {_in_words(domain)}",
            f"{key}={value}",
            f"Widen space.{key}, or set `baselines: none` or a list of points",
        )
    return found


def _inside(value: Value, domain: Domain) -> Value | None:
    """The value as its domain writes it (4 for 4.0), or None where it lies outside."""
    if not isinstance(domain, Range):
        alike = (each for each in values_of(domain) if isinstance(each, bool) == isinstance(value, bool))
        return next((each for each in alike if each == value), None)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not domain.low <= value <= domain.high:
        return None
    if domain.integer:
        return int(value) if value == int(value) else None
    return float(value)


def _in_words(domain: Domain) -> str:
    match domain:
        case Fixed(value):
            return f"{value}"
        case Choice(values):
            return f"one of {list(values)}"
        case Range(low, high, _, integer):
            return f"{'a whole number of ' if integer else ''}{low}..{high}"
