"""The search space: define-by-run and conditional, so that a parameter exists only where it means something."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Union, cast, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from search.config_problem import describe, flatten, raise_all, show, unknown_key
from trainable.config import LOSS_PARAMETERS, DataConfig, LossConfig, ModelConfig, OptimizerConfig, Section
from trainable.errors import InputError

if TYPE_CHECKING:  # a config is read without Optuna, which takes long to import
    from optuna.trial import BaseTrial

SECTIONS: Final[dict[str, type[Section]]] = {
    "model": ModelConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
}
"""The searchable sections of a trial's config."""

Value = str | int | float | bool


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched."""

    value: Value


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """Any value from `low` to `high`, both included; `log` searches orders of magnitude evenly."""

    low: float
    high: float
    log: bool
    integer: bool


Domain = Fixed | Choice | Range


@dataclass(frozen=True)
class Space:
    """Domains by flat key (`loss.alpha`), in the order in which they are asked for."""

    domains: Mapping[str, Domain]

    def searched(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The part of `values` that is not fixed."""
        return {key: value for key, value in values.items() if not isinstance(self.domains[key], Fixed)}


def suggest(trial: "BaseTrial", space: Space) -> dict[str, Value]:
    """Ask an Optuna trial for a point of the space.

    Returns:
        All values that exist at this point, by flat key, the fixed ones included.
    """
    values: dict[str, Value] = {}
    for key, domain in space.domains.items():
        if exists(key, values):
            values[key] = _ask(trial, key, domain)
    return values


def exists(key: str, values: Mapping[str, Value]) -> bool:
    """Whether a parameter means something where `values` have been chosen: alpha only under tversky, and so on."""
    section, _, name = key.partition(".")
    if section != "loss" or name == "name":
        return True
    return name in LOSS_PARAMETERS[str(values.get("loss.name", "cross_entropy"))]


def nested(values: Mapping[str, Value]) -> dict[str, dict[str, Value]]:
    """Flat keys as sections: {"loss.alpha": 0.7} as {"loss": {"alpha": 0.7}}."""
    sections: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return sections


def _ask(trial: "BaseTrial", key: str, domain: Domain) -> Value:
    match domain:
        case Fixed(value):
            return value
        case Choice(values):
            return cast(Value, trial.suggest_categorical(key, values))
        case Range(low, high, log, integer):
            if integer:
                return trial.suggest_int(key, int(low), int(high), log=log)
            return trial.suggest_float(key, low, high, log=log)


def lowest(domain: Domain) -> float:
    """The least number of a numeric domain."""
    return domain.low if isinstance(domain, Range) else min(float(value) for value in _values(domain))


def highest(domain: Domain) -> float:
    """The greatest number of a numeric domain."""
    return domain.high if isinstance(domain, Range) else max(float(value) for value in _values(domain))


def _values(domain: Fixed | Choice) -> tuple[Value, ...]:
    return domain.values if isinstance(domain, Choice) else (domain.value,)


def parse_space(sections: Mapping[str, Mapping[str, Any]]) -> Space:
    """Read the `space` of a config.

    Args:
        sections: Section -> key -> scalar, list or {low, high[, log]}.

    Raises:
        InputError: Unknown keys, values that their keys cannot have, a loss without its parameters: all of them.
    """
    domains: dict[str, Domain] = {}
    problems: list[InputError] = []
    for section, kind in SECTIONS.items():
        given = sections.get(section, {})
        problems += [_unknown(section, name, given[name]) for name in given if name not in kind.model_fields]
        # The loss's name comes first in its section: what else exists there depends on it.
        for name in kind.model_fields:
            if name in given:
                try:
                    domains[f"{section}.{name}"] = _parse_domain(f"space.{section}.{name}", given[name], kind, name)
                except InputError as error:
                    problems += flatten(error)
    raise_all(problems)
    raise_all([*_loss_problems(domains), *_bound_problems(domains)])
    return Space(domains)


def _unknown(section: str, name: str, value: Any) -> InputError:
    everywhere = [f"space.{other}.{key}" for other, kind in SECTIONS.items() for key in kind.model_fields]
    return unknown_key(f"space.{section}.{name}", value, SECTIONS[section].model_fields, everywhere)


def _parse_domain(where: str, given: Any, kind: type[Section], name: str) -> Domain:
    if isinstance(given, Mapping):
        return _parse_range(where, given, kind, name)
    if isinstance(given, list):
        if not given:
            raise InputError(f"{where} must name at least one value", "[]", "Give a list of values, or a scalar")
        values = tuple(_check_value(where, value, kind, name) for value in given)
        if len(set(values)) < len(values):
            raise InputError(f"{where} must not name a value twice", show(given), "Remove the double")
        return Choice(values) if len(values) > 1 else Fixed(values[0])
    return Fixed(_check_value(where, given, kind, name))


def _parse_range(where: str, given: Mapping[str, Any], kind: type[Section], name: str) -> Domain:
    if not {"low", "high"} <= set(given) <= {"low", "high", "log"}:
        raise InputError(f"{where} as a range reads {{low, high[, log]}}", show(dict(given)), "Mend its keys")
    base = _number_type(kind, name)
    if base is None:
        raise InputError(f"{where} is searched in a list of values, not in a range", show(dict(given)), "Write [A, B]")
    low, high = (_check_value(f"{where}.{bound}", given[bound], kind, name) for bound in ("low", "high"))
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}.log must be true or false", show(log), "Write true or false")
    if not (isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high):
        raise InputError(
            f"{where} must have low below high", show(dict(given)), "Swap them, or give a scalar to fix it"
        )
    if log and low <= 0:
        raise InputError(f"{where} on a log scale must begin above 0", show(low), "Raise low, or remove log")
    return Range(low, high, log, base is int)


def _check_value(where: str, value: Any, kind: type[Section], name: str) -> Value:
    field = kind.model_fields[name]
    if value is None:
        raise InputError(f"{where} must be a value", "null", f"Remove {where}, or give it a value")
    try:
        # Through the whole section for its field validators, the loss aside: its parameters need each other.
        adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation(), config=ConfigDict(allow_inf_nan=False))
        checked: Value = adapter.validate_python(value)
        if kind is not LossConfig:
            checked = getattr(kind.model_validate(_companions(name, value)), name)
    except ValidationError as error:
        raise_all(describe(error.errors(include_url=False)[0], where))
        raise
    return checked


def _companions(name: str, value: Any) -> dict[str, Any]:
    """The value with what must go with it: the two scales are checked against each other later."""
    other = {"scale_min": "scale_max", "scale_max": "scale_min"}.get(name)
    return {name: value} | ({other: value} if other else {})


def _number_type(kind: type[Section], name: str) -> type | None:
    """Whether a key takes whole numbers (int), numbers (float) or neither."""
    annotation = kind.model_fields[name].annotation
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    for option in options:
        base = get_args(option)[0] if hasattr(option, "__metadata__") else option
        if base is int:
            return int
        if base is float:
            return float
    return None


def _loss_problems(domains: Mapping[str, Domain]) -> Iterator[InputError]:
    """Parameters that a loss cannot do without, and parameters whose loss is not searched."""
    domain = domains.get("loss.name", Fixed("cross_entropy"))
    losses = () if isinstance(domain, Range) else _values(domain)
    for loss, needed in (("tversky", ("alpha", "beta")), ("focal", ("focal_gamma",))):
        for name in needed:
            if loss in losses and f"loss.{name}" not in domains:
                yield InputError(
                    f"space.loss.name {loss} needs space.loss.{name}", "none", f"Add {name}: {{low: 0.1, high: 1.0}}"
                )
    for key in domains:
        section, _, name = key.partition(".")
        if section == "loss" and name != "name" and not any(name in LOSS_PARAMETERS[str(loss)] for loss in losses):
            owner = next(loss for loss, names in LOSS_PARAMETERS.items() if name in names)
            rule = f"space.{key} exists only under {owner}"
            yield InputError(rule, f"space.loss.name {show(list(losses))}", f"Remove it, or add {owner}")


def _bound_problems(domains: Mapping[str, Domain]) -> Iterator[InputError]:
    """Pairs of parameters of which some points would be no valid trial."""
    alpha, beta = domains.get("loss.alpha"), domains.get("loss.beta")
    if alpha and beta and lowest(alpha) + lowest(beta) <= 0:
        rule = "space.loss.alpha and space.loss.beta must not both reach 0"
        yield InputError(rule, "0 and 0", "Raise one of them: with both at 0 every prediction is perfect")
    smallest = highest(domains.get("data.scale_min", Fixed(DataConfig().scale_min)))
    largest = lowest(domains.get("data.scale_max", Fixed(DataConfig().scale_max)))
    if smallest > largest:
        rule = "space.data.scale_min must nowhere exceed space.data.scale_max"
        yield InputError(rule, f"up to {smallest:g} and down to {largest:g}", "Lower scale_min, or raise scale_max")
