"""YAML as configs need it: no doubled keys, `1e-3` is a number, dates are text, and every key knows its line."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from search.config_problem import show
from trainable.errors import InputError

_SCALAR_TYPES_LEFT_OUT = "tag:yaml.org,2002:timestamp"  # `name: 2025-01-31` is a name


class _Loader(yaml.SafeLoader):
    """YAML's safe types, YAML 1.2's floats, no timestamps, no doubled keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing keys that are given twice."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _SCALAR_TYPES_LEFT_OUT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


@dataclass(frozen=True)
class ConfigDocument:
    """A config before it is checked.

    Attributes:
        values: Nested mappings.
        sources: Where a value was given, by its dotted key: `search.yaml line 3`, `--set seed=1`.
        name: Of the file, if there is one.
    """

    values: dict[str, Any]
    sources: Mapping[str, str]
    name: str | None

    def replaced(self, values: dict[str, Any]) -> "ConfigDocument":
        """The same document with other values."""
        return replace(self, values=values)

    def with_value(self, key: str, value: Any, source: str) -> "ConfigDocument":
        """Set a dotted key, making the sections that lead to it.

        Raises:
            InputError: What leads to it is no section.
        """
        values = copy.deepcopy(self.values)
        *path, last = key.split(".")
        level = values
        for depth, part in enumerate(path):
            if level.get(part) is None:
                level[part] = {}
            level = level[part]
            if not isinstance(level, dict):
                parent = ".".join(path[: depth + 1])
                remedy = f"Set {parent} as a whole: --set '{parent}={{KEY: VALUE}}'"
                raise InputError(f"{parent} must be a mapping for {key} to be set", f"{show(level)} ({source})", remedy)
        level[last] = value
        sources = {known: origin for known, origin in self.sources.items() if not known.startswith(f"{key}.")}
        return replace(self, values=values, sources=sources | {key: source})

    def source(self, key: str) -> str | None:
        """Where the value of a key was given: its own source, else that of the section that holds it."""
        while key:
            if key in self.sources:
                return self.sources[key]
            key = key.rpartition(".")[0]
        return None


def read_document(path: Path) -> ConfigDocument:
    """Read a YAML file whose top level is a mapping.

    Raises:
        InputError: There is no such file, or it is not of that form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError("the config must be a YAML file", f"{path}, which does not exist", "Check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError("the config must be a readable YAML file", f"{path}: {reason}", "Check the path") from error
    return parse_document(text, str(path))


def parse_document(text: str, where: str) -> ConfigDocument:
    """Read YAML whose top level is a mapping.

    Args:
        text: The YAML.
        where: The path or URL it comes from, for messages.

    Raises:
        InputError: It is not of that form.
    """
    values, lines = _parse(text, where)
    if not isinstance(values, dict):
        given = "an empty file" if values is None else f"{type(values).__name__} {show(values)}"
        raise InputError(f"{where} must hold a mapping of keys to values", given, "Write KEY: VALUE lines")
    name = where.rpartition("/")[2]
    return ConfigDocument(values, {key: f"{name} line {line}" for key, line in lines}, name)


def parse_value(text: str, where: str) -> Any:
    """Read a value as YAML.

    Args:
        text: For example `8`, `[unet, fpn]` or `{low: 0.1, high: 1}`.
        where: For the message.

    Raises:
        InputError: It is not YAML.
    """
    return _parse(text, where)[0]


def _parse(text: str, where: str) -> tuple[Any, list[tuple[str, int]]]:
    try:
        # The constructed values do not say where they stood; the nodes do.
        return yaml.load(text, _Loader), _lines(yaml.compose(text, _Loader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{where}{line} must be YAML", problem, "Mend it there, or a little above") from error


def _lines(node: yaml.Node | None, prefix: str = "") -> list[tuple[str, int]]:
    """Dotted keys with their lines, counted from 1."""
    if not isinstance(node, yaml.MappingNode):
        return []
    found = []
    for key, value in node.value:
        dotted = f"{prefix}{key.value}"
        found.append((dotted, key.start_mark.line + 1))
        found += _lines(value, f"{dotted}.")
    return found
