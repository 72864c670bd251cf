"""A config document held against its pydantic model: everything that is wrong with it, and where it stands."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from search.config.config_yaml import ConfigDocument
from search.config.search_config import SpaceConfig
from search.config.train_config import TrainConfig
from search.space.exclusions import EXCLUDE
from search.space.space import SECTIONS
from trainable.config.architectures import ARCHITECTURE_NAMES, ARCHITECTURE_RULE
from trainable.config.config_problem import describe, flatten, raise_all, show, unknown_key
from trainable.config.loss_registry import LOSS_NAME_RULE, LOSS_NAMES
from trainable.config.objectives import class_objectives, plain_objectives
from trainable.errors import InputError

_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], document: ConfigDocument) -> _Model:
    """Read a document as a config.

    Raises:
        InputError: Everything that is wrong with it, one line each, with the place where it was given.
    """
    values = _without_empty_sections(model, document.values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = _problems(error, model)
        # Pydantic skips what it checks after the fields where a key is unknown: ask again without these keys.
        for details in error.errors(include_url=False):
            if details["type"] == "extra_forbidden":
                values = _without(values, details["loc"])
        try:
            model.model_validate(values)
        except ValidationError as second:
            known = {str(problem) for problem in problems}
            problems += [problem for problem in _problems(second, model) if str(problem) not in known]
        raise_all(located(problems, document))
        raise


def _without(values: Mapping[str, Any], place: Sequence[int | str]) -> dict[str, Any]:
    """A copy that lacks the key at `place`."""
    first, *rest = place
    if rest and isinstance(values.get(str(first)), Mapping):
        return {**values, str(first): _without(values[str(first)], rest)}
    return {key: value for key, value in values.items() if key != first}


def _without_empty_sections(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out sections that hold nothing (`tracking:` with all of its lines commented out)."""
    sections = dict(_sections(model))
    kept = {key: value for key, value in values.items() if value is not None or key not in sections}
    if isinstance(kept.get("space"), dict):
        kept["space"] = {key: value for key, value in kept["space"].items() if value is not None or key not in SECTIONS}
    return kept


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield name, field.annotation


def config_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a config model, dotted, sections before what they hold."""
    sections = dict(_sections(model)) | (dict(SECTIONS) if model is SpaceConfig else {})
    if prefix == "space.model.":
        yield f"{prefix}{EXCLUDE}"
    for name in model.model_fields:
        yield f"{prefix}{name}"
        if name in sections:
            yield from config_keys(sections[name], f"{prefix}{name}.")


def _problems(error: ValidationError, model: type[BaseModel]) -> list[InputError]:
    found: dict[str, tuple[InputError, ...]] = {}
    for details in error.errors(include_url=False):
        key = _key(details, model)
        if key in found and key in _SPELLED_OUT and details["type"] != "value_error":
            continue  # one error for each alternative of a union
        new = _describe(details, key, model)
        found[key] = (*found.get(key, ()), *new)
    return [problem for problems in found.values() for problem in problems]


def _key(details: ErrorDetails, model: type[BaseModel]) -> str:
    """The dotted key of an error; what pydantic appends for the alternatives of a union is left out."""
    parts: list[str] = []
    level: type[BaseModel] | None = model
    for part in details["loc"]:
        parts.append(str(part))
        level = dict(_sections(level)).get(str(part)) if level else None
        if level is None:
            break
    return ".".join(parts)


def _describe(details: ErrorDetails, key: str, model: type[BaseModel]) -> tuple[InputError, ...]:
    if details["type"] == "extra_forbidden":
        if "." in str(details["loc"][-1]):
            rule, remedy = f"{key} must be nested in the file: only --set takes dotted keys", key.replace(".", ": {")
            return (InputError(rule, show(details["input"]), f"Write {remedy}: ...{'}' * key.count('.')}"),)
        return (_unknown(key, details["input"], model),)
    if key in _SPELLED_OUT and details["type"] not in ("value_error", "missing"):
        rule, remedy = _SPELLED_OUT[key]
        return (InputError(f"{key} {rule}", show(details["input"]), remedy),)
    return tuple(_with_suggestion(problem) for problem in describe(details, key))


def _with_suggestion(problem: InputError) -> InputError:
    """Say which name was probably meant, where one that a validator of ours knows is misspelled."""
    key, _, _ = problem.rule.partition(" must be one of ")
    given = str(problem.value).strip("'\"")
    _, slash, class_name = given.partition("/")
    known = plain_objectives() if key == "objective" else _NAMES.get(key, ())
    names = known + (tuple(f"{kind}/{class_name}" for kind in class_objectives()) if slash else ())
    by_lower = {name.lower(): name for name in names}
    plain = given.lower().replace("+", "plus")
    close = difflib.get_close_matches(plain, by_lower, n=1) if known else []
    if not close or by_lower[close[0]] == given:
        return problem
    return InputError(problem.rule, problem.value, f"Did you mean {by_lower[close[0]]}? Choose one of them")


_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "space.loss.name": LOSS_NAMES,
    "loss.name": LOSS_NAMES,
    "space.model.architecture": ARCHITECTURE_NAMES,
    "model.architecture": ARCHITECTURE_NAMES,
}
"""Keys whose names pydantic does not list, because they take others too; `objective` is one more."""

_SPELLED_OUT: Final[dict[str, tuple[str, str]]] = {
    "name": (
        "must begin with a letter or digit and go on with letters, digits, '.', '_' and '-', 100 at the most",
        "Rename it (it names a folder); a name of digits only needs quotes",
    ),
    "objective": (
        "must name an objective, or in a search a list of them",
        "Write for example miou, or [miou, thing_recall] for the best trade-offs",
    ),
    "loss.name": (LOSS_NAME_RULE, "Give one of them, not a list"),
    "model.architecture": (ARCHITECTURE_RULE, "Give one of them, not a list"),
    "baselines": (
        "must be seed, strong, none or a list of points",
        "A point is a mapping such as {loss: {name: dice}}",
    ),
    "resources.cpus_per_trial": ("must be a number above 0 or auto", "Give the cores of a trial, or auto"),
    "resources.gpus_per_trial": (
        "must be a number from 0 to 1, or auto",
        "Write 1, a fraction (0.5 lets two trials share a GPU), 0 or auto",
    ),
}
"""Keys that take alternatives, where one sentence says more than an error for each."""


def _unknown(key: str, value: object, model: type[BaseModel]) -> InputError:
    if model is TrainConfig and key in _NOT_FOR_TRAIN:
        return InputError(f"train takes no {key}", show(value), _NOT_FOR_TRAIN[key])
    level: type[BaseModel] = model
    for part in key.split(".")[:-1]:
        level = dict(_sections(level))[part]
    return unknown_key(key, value, level.model_fields, config_keys(model))


_NOT_FOR_TRAIN: Final[dict[str, str]] = {
    "space": "Leave `space` out: write model, loss, optimizer and data at the top level, one value a key",
    "baselines": "Remove it, or use aerosweep search: train runs one trial",
    "scheduler": "Remove it: one trial is never stopped early",
    "confirm": "Remove it, or use aerosweep search: train runs one trial",
    "budget.trials": "Remove it, or use aerosweep search: train runs one trial",
}


def located(problems: Sequence[InputError], document: ConfigDocument) -> list[InputError]:
    """Say of each problem where its value was given."""
    single = [part for problem in problems for part in flatten(problem)]
    found = []
    for problem in single:
        # Rules name the key that they are about first.
        keys = re.findall(r"[a-z_]+(?:\.[a-z_]+)*", problem.rule)
        source = next((source for key in keys if (source := document.source(key))), document.name)
        value = f"{problem.value} ({source})" if source else problem.value
        found.append(InputError(problem.rule, value, problem.remedy))
    return found
