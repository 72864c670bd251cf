"""Search configs as users write them: a YAML file, `--set key=value` and `--output`, read into a `SearchConfig`."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from search.config.config_check import located, validate
from search.config.config_yaml import ConfigDocument, parse_document, parse_value, read_document
from search.config.search_config import SearchConfig
from search.config.train_config import TrainConfig
from search.space.baselines import baseline_points
from search.space.points import point_identity
from trainable.config.config_problem import raise_all, show
from trainable.data.dataset_problem import ProblemError
from trainable.data.dataset_yaml import scan_description
from trainable.errors import InputError

SEARCH_FILE: Final = "search.yaml"
"""The config of a search, in its folder and in what is sent to a cluster."""


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
    document = read_config(path, overrides, output)
    config = validate(SearchConfig, document)
    raise_all(located(_path_problems(document), document))
    raise_all(located(_environment_problems(config), document))
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
    document = read_config(path, overrides, output)
    given = validate(TrainConfig, document)
    raise_all(located(_path_problems(document), document))
    config = given.as_search()
    raise_all(located(_environment_problems(config), document))
    return config.absolute()


def load_recorded_config(search: str, overrides: Sequence[str], output: str | None) -> SearchConfig:
    """Read the config of a search that has been recorded.

    Args:
        search: The folder of the search, a path or a URL, or the config file that it was started with.
        overrides: As for `load_search_config`.
        output: With a config file, the folder of all searches.

    Returns:
        The config with absolute paths; of a folder that was moved, with its present place.

    Raises:
        InputError: There is no such search, or its config and the overrides do not go together.
    """
    if "://" not in search and Path(search).is_file():
        return load_search_config(Path(search), overrides, output)
    if output is not None:
        raise InputError("--output goes with a config file", f"the folder {search}", "Leave --output out")
    from trainable.record.storage import Storage  # with fsspec, which a config file needs none of

    storage, _, name = _absolute(search).rpartition("/")
    data = Storage(f"{storage}/{name}").read(SEARCH_FILE)
    if data is None:
        raise InputError(
            "SEARCH must be the folder of a recorded search, or its config file",
            search,
            "Give the folder that the end of the search names, for example runs/my-search",
        )
    document = parse_document(data.decode(errors="replace"), f"{storage}/{name}/{SEARCH_FILE}")
    if document.values.get("name") != name:
        rule = "the folder of a search must keep the search's name"
        raise InputError(rule, f"{name} for {document.values.get('name')}", "Rename the folder")
    document = _with_overrides(_as_run(document).with_value("storage", storage, search), overrides)
    return validate(SearchConfig, document).absolute()


def _as_run(document: ConfigDocument) -> ConfigDocument:
    """A recorded config without what earlier versions accepted and did not do: trials never used a second GPU."""
    key = "resources.gpus_per_trial"
    gpus = document.value(key)
    too_many = isinstance(gpus, int | float) and gpus > 1
    return document.with_value(key, 1, document.source(key) or document.name or key) if too_many else document


def _absolute(search: str) -> str:
    return search.rstrip("/") if "://" in search else str(Path(search).expanduser().resolve())


def inlined(config: SearchConfig) -> SearchConfig:
    """The config with what its data-set YAML says in the place of its path: for machines that lack the file.

    Args:
        config: With absolute paths.

    Raises:
        InputError: Everything that is wrong with the file, one line each.
    """
    path = config.dataset.description
    if not isinstance(path, Path):
        return config
    description, problems = scan_description(path)
    raise_all([ProblemError(problem) for problem in problems])
    return config.model_copy(update={"dataset": config.dataset.model_copy(update={"description": description})})


def config_warnings(config: SearchConfig) -> list[str]:
    """What is allowed in a config and yet probably not meant."""
    warnings = []
    if config.most_trials > 1 and config.first_rung >= config.budget.max_epochs:
        warnings.append(
            f"the first rung (scheduler.grace_epochs, {config.first_rung}) is not below budget.max_epochs "
            f"({config.budget.max_epochs}): no trial will be stopped early"
        )
    if config.most_trials < config.budget.trials:
        size = "one point" if config.most_trials == 1 else f"{config.most_trials} points"
        warnings.append(
            f"space has only {size}, and none is trained twice: the search ends before budget.trials "
            f"({config.budget.trials})"
        )
    if config.confirm.after_search and config.confirm.seeds == 1:
        warnings.append("confirm.seeds is 1: from a single seed nothing can be said about a difference")
    points = baseline_points(config.baselines, config.parsed_space)
    baselines = len({point_identity(point) for point in points})
    if baselines < len(points):
        warnings.append(f"baselines has {len(points)} points, {baselines} of them different: none is trained twice")
    if config.budget.trials < baselines:
        warnings.append(
            f"budget.trials ({config.budget.trials}) is below the {baselines} baselines: some of them will not run, "
            "and the sampler suggests nothing"
        )
    return warnings


def read_config(path: Path | None, overrides: Sequence[str], output: str | None) -> ConfigDocument:
    """Read what the user gave, unchecked: the file, then the overrides, then the output folder.

    Raises:
        InputError: The file or an override cannot be read.
    """
    document = _with_overrides(read_document(path) if path else ConfigDocument({}, {}, None), overrides)
    if output is not None:
        document = document.with_value("storage", output, f"--output {output}")
    return document


def _with_overrides(document: ConfigDocument, overrides: Sequence[str]) -> ConfigDocument:
    for override in overrides:
        key, value = _parse_override(override)
        document = document.with_value(key, value, f"--set {override}")
    return document


def _parse_override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or re.fullmatch(r"\w+(\.\w+)*", key) is None:
        raise InputError(
            "--set must read KEY=VALUE, the key dotted", show(text), "Write for example --set budget.trials=8"
        )
    return key, parse_value(value, f"--set {text}")


_PATHS: Final = (
    "storage",
    "dataset.root",
    "dataset.description",
    "resources.cache_dir",
    "space.model.encoder_weights",
    "model.encoder_weights",
)


def _path_problems(document: ConfigDocument) -> list[InputError]:
    """Paths that no file could have: of a user who is not there, too long, links in a circle."""
    problems = []
    for key in _PATHS:
        given = document.value(key)
        for path in given if isinstance(given, list) else [given]:
            if isinstance(path, dict):
                continue  # a description that stands in the config
            try:
                Path(path or "").expanduser().resolve().exists()
            except PermissionError:
                continue  # of no matter to who does not need it; who does will say so
            except (OSError, RuntimeError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
                problems.append(InputError(f"{key} must be a path", f"{show(path)}: {reason}", "Mend the path"))
    return problems


def _environment_problems(config: SearchConfig) -> list[InputError]:
    """What depends on the machine that reads the config, and so is no part of the config's own validation."""
    checks: tuple[Callable[[SearchConfig], InputError | None], ...] = (_check_storage, _check_cache, _check_tracking)
    return [problem for check in checks if (problem := check(config))]


def _check_storage(config: SearchConfig) -> InputError | None:
    protocol, separator, place = config.storage.partition("://")
    if not separator and re.match(r"\w{2,}:/", config.storage) is None:
        return _no_folder("storage", Path(config.storage) / config.name)
    import fsspec  # here, because a path needs none of it

    if protocol in fsspec.available_protocols() and place.strip("/"):
        return None
    rule = "storage must be a path or the URL of a folder in a file system that fsspec knows"
    return InputError(rule, show(config.storage), "Give a path, or for example s3://bucket/searches")


def _check_cache(config: SearchConfig) -> InputError | None:
    cache_dir = config.resources.cache_dir
    return _no_folder("resources.cache_dir", cache_dir) if cache_dir else None


def _no_folder(key: str, given: Path) -> InputError | None:
    path = given.expanduser().resolve()
    try:
        there = next(part for part in (path, *path.parents) if part.exists())
    except PermissionError as error:
        return InputError(f"{key} must be a folder", f"{show(str(path))}: {error.strerror}", _OTHER_FOLDER)
    if not there.is_dir():
        return InputError(f"{key} must be a folder", f"the file {show(str(there))}", "Give a folder, new or not")
    effective = os.access in os.supports_effective_ids
    # A folder that is there may be one to read from: of a search that is over.
    if there != path and not os.access(there, os.W_OK | os.X_OK, effective_ids=effective):
        value = f"{show(str(path))}, and nothing can be written to {there}"
        return InputError(f"{key} must be a folder that can be made", value, _OTHER_FOLDER)
    return None


_OTHER_FOLDER: Final = "Give another folder, or see to it that you may write there"


def _check_tracking(config: SearchConfig) -> InputError | None:
    remote = "://" in config.storage and not config.storage.startswith(("file://", "local://"))
    if not remote or config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    return InputError(
        f"tracking.uri must be given when storage is no local path ({config.storage})",
        "null",
        "Set tracking.uri or MLFLOW_TRACKING_URI to an MLflow server, or to sqlite:////absolute/path/mlflow.db",
    )
