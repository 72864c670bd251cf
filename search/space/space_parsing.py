"""The `space` of a config, read and checked."""

from collections.abc import Iterator, Mapping
from itertools import product
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError

from search.space.exclusions import EXCLUDE, parse_exclusions, without_exclusions
from search.space.space import (
    LOSS_SHAPE,
    OPTIONS,
    SECTIONS,
    Choice,
    Domain,
    Fixed,
    Range,
    Space,
    Value,
    exists,
    highest,
    lowest,
    values_of,
)
from trainable.config.config_problem import describe, flatten, raise_all, show, unknown_key
from trainable.config.loss_config import LossConfig
from trainable.config.loss_registry import LOSS_DEFAULTS, REQUIRED_PARAMETERS, loss_parameters, owners
from trainable.config.section import Section
from trainable.config.sections import DataConfig, ModelConfig
from trainable.config.user_class import Option, is_reference
from trainable.errors import InputError

_DEFAULT_OWNERS: Final = {
    "loss.name": Fixed(LossConfig().name),
    "model.architecture": Fixed(ModelConfig().architecture),
}
_OPTION: Final[TypeAdapter[Any]] = TypeAdapter(Option, config=ConfigDict(allow_inf_nan=False))


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
        given = without_exclusions(section, sections.get(section, {}))
        problems += [_unknown(section, name, given[name]) for name in given if name not in kind.model_fields]
        # In the order of the fields: what exists in the loss's section depends on the names that come first.
        for name in kind.model_fields:
            if name in given:
                try:
                    domains |= _parse_key(section, name, given[name], kind)
                except InputError as error:
                    problems += flatten(error)
    raise_all(problems)
    raise_all([*_loss_problems(domains), *_option_problems(domains), *_bound_problems(domains)])
    return Space(domains, parse_exclusions(sections.get("model", {}).get(EXCLUDE), domains))


def _parse_key(section: str, name: str, given: Any, kind: type[Section]) -> dict[str, Domain]:
    if name != "options":
        return {f"{section}.{name}": _parse_domain(f"space.{section}.{name}", given, kind, name)}
    if not isinstance(given, Mapping):
        rule = f"space.{section}.options must map the keyword arguments of your own class to what is searched"
        raise InputError(rule, show(given), "Write for example options: {epsilon: {low: 0.0, high: 2.0}}")
    return {
        f"{section}.options.{option}": _parse_domain(f"space.{section}.options.{option}", domain, kind, name)
        for option, domain in given.items()
    }


def _unknown(section: str, name: str, value: Any) -> InputError:
    everywhere = [f"space.{other}.{key}" for other, kind in SECTIONS.items() for key in kind.model_fields]
    siblings = [*SECTIONS[section].model_fields, *([EXCLUDE] if section == "model" else [])]
    return unknown_key(f"space.{section}.{name}", value, siblings, everywhere)


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
        remedy = "Write for example {low: 0.1, high: 1.0}"
        raise InputError(f"{where} as a range reads {{low, high[, log]}}", show(dict(given)), remedy)
    base = _number_type(kind, name) if name != "options" else _common_type(given["low"], given["high"])
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
    if value is None:
        raise InputError(f"{where} must be a value", "null", f"Remove {where}, or give it a value")
    if name == "options":
        return _check_option(where, value)
    try:
        # Through the whole section for its field validators, the loss aside: its parameters need each other.
        annotation = kind.model_fields[name].rebuild_annotation()
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(allow_inf_nan=False))
        checked: Value = adapter.validate_python(value)
        if isinstance(value, bool) and not isinstance(checked, bool):
            raise InputError(f"{where} must be a number", show(value), "Give a number")
        if kind is not LossConfig:
            checked = getattr(kind.model_validate(_companions(name, value)), name)
    except ValidationError as error:
        raise_all(describe(error.errors(include_url=False)[0], where))
        raise
    return checked


def _check_option(where: str, value: Any) -> Value:
    try:
        option: Value = _OPTION.validate_python(value, strict=True)
    except ValidationError as error:
        rule = f"{where} must be text, a finite number, true or false, or a list or range of them"
        raise InputError(rule, show(value), "Give it such a value") from error
    return option


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


def _common_type(low: Any, high: Any) -> type | None:
    """Whether an option's range is of whole numbers or of numbers; its class does not say."""
    kinds = {type(low), type(high)}
    if kinds == {int}:
        return int
    return float if kinds <= {int, float} else None


def _loss_problems(domains: Mapping[str, Domain]) -> Iterator[InputError]:
    """Parameters that a loss cannot do without, and parameters whose loss is not searched."""
    losses = _losses(domains)
    for name in REQUIRED_PARAMETERS:
        needy = next((loss for loss in losses if name in loss_parameters(loss)), None)
        if needy and f"loss.{name}" not in domains:
            yield InputError(
                f"space.loss.name {needy['name']} needs space.loss.{name}",
                "none",
                f"Add {name}: {{low: 0.1, high: 1.0}}",
            )
    for key in domains:
        section, _, name = key.partition(".")
        parameter = name.partition(".")[0]
        if section != "loss" or name == "name" or name.startswith(OPTIONS):
            continue
        if not any(parameter in loss_parameters(loss) for loss in losses):
            names = list(dict.fromkeys(loss["name"] for loss in losses))
            rule = f"space.{key} exists only under {owners(parameter)}"
            yield InputError(rule, f"space.loss.name {show(names)}", f"Remove it, or add {owners(parameter)}")


def _losses(domains: Mapping[str, Domain]) -> list[dict[str, Any]]:
    """Every combination of what decides which parameters a loss has."""
    defaults: dict[str, Any] = LOSS_DEFAULTS | {"name": "cross_entropy"}
    options = [values_of(domains.get(f"loss.{part}", Fixed(defaults[part]))) for part in LOSS_SHAPE]
    return [dict(zip(LOSS_SHAPE, chosen, strict=True)) for chosen in product(*options)]


def _option_problems(domains: Mapping[str, Domain]) -> Iterator[InputError]:
    """Options that no class of the user's own takes."""
    for key in domains:
        section, _, name = key.partition(".")
        if not name.startswith(OPTIONS):
            continue
        owner = {"loss": "loss.name", "model": "model.architecture"}[section]
        names = [str(value) for value in values_of(domains.get(owner, _DEFAULT_OWNERS[owner]))]
        own = [name for name in names if is_reference(name)]
        if not any(exists(key, {owner: name}) for name in own):
            rule = f"space.{key} must be a keyword argument of a class that space.{owner} names"
            remedy = f"Remove it, or let {' or '.join(own)} take it" if own else "Remove it, or name your own class"
            yield InputError(rule, ", ".join(own) or show(names), remedy)


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
