"""Search configs as users write them: a YAML file, `--set key=value` and `--output`, read into a `SearchConfig`."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from search.baselines import baseline_points
from search.config import SearchConfig, SpaceConfig
from search.config_problem import describe, flatten, raise_all, show, unknown_key
from search.config_yaml import ConfigDocument, parse_value, read_document
from search.space import SECTIONS, Fixed
from search.train_config import TrainConfig
from trainable.cache_dir import default_cache_dir
from trainable.config import Section
from trainable.dataset_config import DatasetConfig
from trainable.errors import InputError

_Model = TypeVar("_Model", bound=BaseModel)


def load_search_config(path: Path, overrides: Sequence[str], output: str | None) -> SearchConfig:
    """Read the config of a search.

    Args:
        path: The YAML file.
        overrides: `key=value`, the key dotted (`budget.trials`), the value YAML; any key may be new.
        output: The folder of all searches, `--set storage=output`.

    Returns:
        The config with absolute paths; relative ones start from the current directory.

    Raises:
        InputError: Everything that is wrong with it, one line each.
    """
    document = _document(path, overrides, output)
    config = _validate(SearchConfig, document)
    raise_all(_located(_environment_problems(config), document))
    return config.absolute()


def load_train_config(path: Path | None, overrides: Sequence[str], output: str | None) -> SearchConfig:
    """Read the config of one training run as a search of one trial, which no scheduler stops.

    Args:
        path: A YAML file with the keys of a search, scalars only, `space.` left out; or None.
        overrides: As for `load_search_config`.
        output: As for `load_search_config`.

    Returns:
        A config whose space is all scalars, with absolute paths.

    Raises:
        InputError: Everything that is wrong with it, one line each.
    """
    document = _document(path, overrides, output)
    config = _validate(TrainConfig, document).as_search()
    raise_all(_located(_environment_problems(config), document))
    return config.absolute()


class DataSource(NamedTuple):
    """What the `data` commands read of a config.

    Attributes:
        dataset: With absolute paths.
        cache_dir: Where decoded images are kept.
        seed: Of the choice of dev scenes.
    """

    dataset: DatasetConfig
    cache_dir: Path
    seed: int


class _DataSourceConfig(Section):
    dataset: DatasetConfig
    cache_dir: Path | None = None
    seed: int = 0


def load_data_source(path: Path | None, overrides: Sequence[str]) -> DataSource:
    """Read the image set of a search or train config, whatever the rest of it is worth.

    Args:
        path: The YAML file, or None where `overrides` say it all.
        overrides: As for `load_search_config`.

    Raises:
        InputError: What is wrong with it, one line each.
    """
    document = _document(path, overrides, None)
    raise_all(_located(list(_unknown_at_top(document)), document))
    values = document.values
    resources = values.get("resources")
    cache_dir = resources.get("cache_dir") if isinstance(resources, dict) else None
    wanted = {"dataset": values.get("dataset", {}), "cache_dir": cache_dir, "seed": values.get("seed", 0)}
    if "dataset" not in values:
        del wanted["dataset"]
    config = _validate(_DataSourceConfig, document.replaced(wanted))
    folder = config.cache_dir.expanduser().absolute() if config.cache_dir else default_cache_dir()
    return DataSource(config.dataset.absolute(), folder, config.seed)


def describe_source(description: Path, root: Path | None) -> DataSource:
    """The image set of a data-set YAML, without a config."""
    dataset = DatasetConfig(layout="described", description=description, root=root)
    return DataSource(dataset.absolute(), default_cache_dir(), 0)


def config_warnings(config: SearchConfig) -> list[str]:
    """What is allowed in a config and yet probably not meant."""
    warnings = []
    if config.budget.trials > 1 and config.scheduler.grace_epochs >= config.budget.max_epochs:
        warnings.append(
            f"scheduler.grace_epochs ({config.scheduler.grace_epochs}) is not below budget.max_epochs "
            f"({config.budget.max_epochs}): no trial will be stopped early"
        )
    fixed = all(isinstance(domain, Fixed) for domain in config.parsed_space.domains.values())
    if config.budget.trials > 1 and fixed and config.baselines == "none":
        warnings.append(f"space searches nothing: all {config.budget.trials} trials will be the same")
    baselines = len(baseline_points(config.baselines, config.parsed_space))
    if config.budget.trials < baselines:
        warnings.append(
            f"budget.trials ({config.budget.trials}) is below the {baselines} baselines: some of them will not run, "
            "and the sampler suggests nothing"
        )
    return warnings


def _document(path: Path | None, overrides: Sequence[str], output: str | None) -> ConfigDocument:
    document = read_document(path) if path else ConfigDocument({}, {}, None)
    for override in overrides:
        key, value = _parse_override(override)
        document = document.with_value(key, value, f"--set {override}")
    if output is not None:
        document = document.with_value("storage", output, f"--output {output}")
    return document


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or re.fullmatch(r"\w+(\.\w+)*", key) is None:
        raise InputError("--set must read KEY=VALUE, the key dotted", show(text), "Write for example --set budget.trials=8")
    return key, parse_value(value, f"--set {text}")


def _validate(model: type[_Model], document: ConfigDocument) -> _Model:
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
        raise_all(_located(problems, document))
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
    for name in model.model_fields:
        yield f"{prefix}{name}"
        if name in sections:
            yield from config_keys(sections[name], f"{prefix}{name}.")


def _problems(error: ValidationError, model: type[BaseModel]) -> list[InputError]:
    found: dict[str, tuple[InputError, ...]] = {}
    for details in error.errors(include_url=False):
        key = _key(details, model)
        if key in found and key in _SPELLED_OUT:
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
    if key in _SPELLED_OUT:
        rule, remedy = _SPELLED_OUT[key]
        if details["type"] != "value_error" and details["type"] != "missing":
            return (InputError(f"{key} {rule}", show(details["input"]), remedy),)
    if details["type"] == "extra_forbidden":
        return (_unknown(key, details["input"], model),)
    return describe(details, key)


_SPELLED_OUT: Final[dict[str, tuple[str, str]]] = {
    "name": (
        "must begin with a letter or digit and go on with letters, digits, '.', '_' and '-', 100 at the most",
        "Rename it (it names a folder); a name of digits only needs quotes",
    ),
    "baselines": ("must be seed, none or a list of points", "A point is a mapping such as {loss: {name: dice}}"),
    "resources.cpus_per_trial": ("must be a number above 0 or auto", "Give the cores of a trial, or auto"),
    "resources.gpus_per_trial": (
        "must be a number, 0 or above, or auto",
        "Give the GPUs of a trial (0.5 lets two share one), or auto",
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


def _unknown_at_top(document: ConfigDocument) -> Iterator[InputError]:
    known = list(dict.fromkeys([*SearchConfig.model_fields, *TrainConfig.model_fields]))
    for key, value in document.values.items():
        if key not in known:
            yield unknown_key(str(key), value, known)


def _environment_problems(config: SearchConfig) -> list[InputError]:
    """What depends on the machine that reads the config, and so is no part of the config's own validation."""
    checks: tuple[Callable[[SearchConfig], InputError | None], ...] = (_check_storage, _check_tracking)
    return [problem for check in checks if (problem := check(config))]


def _check_storage(config: SearchConfig) -> InputError | None:
    protocol, separator, _ = config.storage.partition("://")
    if not separator:
        path = Path(config.storage).expanduser()
        if next((part for part in (path, *path.parents) if part.exists() and not part.is_dir()), None):
            return InputError("storage must be a folder", f"the file {show(config.storage)}", "Give a folder, new or not")
        return None
    import fsspec  # here, because a path needs none of it

    if protocol in fsspec.available_protocols():
        return None
    rule = "storage must be a path or the URL of a file system that fsspec knows"
    return InputError(rule, show(config.storage), "Give a path, or for example s3://bucket/searches")


def _check_tracking(config: SearchConfig) -> InputError | None:
    remote = "://" in config.storage and not config.storage.startswith(("file://", "local://"))
    if not remote or config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return InputError(
        f"tracking.uri must be given when storage is no local path ({config.storage})",
        "null",
        "Set tracking.uri or MLFLOW_TRACKING_URI to an MLflow server, or to sqlite:////absolute/path/mlflow.db",
    )


def _located(problems: Sequence[InputError], document: ConfigDocument) -> list[InputError]:
    """Say of each problem where its value was given."""
    single = [part for problem in problems for part in flatten(problem)]
    located = []
    for problem in single:
        # Rules name the key that they are about first.
        keys = re.findall(r"[a-z_]+(?:\.[a-z_]+)*", problem.rule)
        source = next((source for key in keys if (source := document.source(key))), document.name)
        value = f"{problem.value} ({source})" if source else problem.value
        located.append(InputError(problem.rule, value, problem.remedy))
    return located
