"""YAML as configs need it: no doubled keys, `1e-3` is a number, dates are text, and every key knows its line."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from trainable.config.config_problem import show
from trainable.errors import InputError

_TAG = "tag:yaml.org,2002:"
_NUMBERS = {
    f"{_TAG}int": r"[-+]?(?:0|[1-9][0-9_]*)",
    f"{_TAG}float": r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
"""As people write them: YAML 1.1 takes `010` for 8, `12:30` for 750 and `1e-3` for text."""


class _Loader(yaml.SafeLoader):
    """YAML's safe types: numbers as people write them, no timestamps, keys that are text and given once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing keys that are no text or are given twice."""
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
                continue
            if key.tag != f"{_TAG}str":
                problem = f"the key {key.value!r}, which reads as {show(self.construct_object(key))} and not as text"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark, note="Put it into quotes")
            if key.value in seen:
                problem = f"the key {key.value!r} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; one that is not of the type that its tag states is an error with a place, as all others."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:
            problem = f"{show(node.value)}, which is no {node.tag.removeprefix(_TAG)}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (*_NUMBERS, f"{_TAG}timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), list("-+.0123456789"))


class _Dumper(yaml.SafeDumper):
    """Quotes the text that our loader, or any other, would take for something else."""


for _tag, _pattern in _NUMBERS.items():
    _Dumper.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern})$"), list("-+.0123456789"))


def dump_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML that is read back as they are."""
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def dump_flow(values: Sequence[Any]) -> str:
    """Plain values as YAML on one line, as `--set` takes them."""
    text: str = yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6
    )
    return text.strip()


@dataclass(frozen=True)
class ConfigDocument:
    """A config before it is checked.

    Attributes:
        values: Nested mappings.
        sources: Where a value was given, by its dotted key: `search.yaml line 3, column 1`, `--set seed=1`.
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

    def value(self, key: str) -> Any:
        """What a dotted key was given, or None."""
        level: Any = self.values
        for part in key.split("."):
            level = level.get(part) if isinstance(level, dict) else None
        return level

    def source(self, key: str) -> str | None:
        """Where the value of a key was given: its own source, else that of a part of it, else of what holds it."""
        part = next((source for known, source in self.sources.items() if known.startswith(f"{key}.")), None)
        found = self.sources.get(key, part)
        parent = key.rpartition(".")[0]
        return found if found or not parent else self.source(parent)


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
        remedy = "Check the path" if isinstance(error, OSError) else "Check the path, or save it as UTF-8"
        raise InputError("the config must be a readable YAML file", f"{path}: {reason}", remedy) from error
    return parse_document(text, str(path))


def parse_document(text: str, where: str) -> ConfigDocument:
    """Read YAML whose top level is a mapping.

    Args:
        text: The YAML.
        where: The path or URL it comes from, for messages.

    Raises:
        InputError: It is not of that form.
    """
    values, places = _parse(text, where)
    if not isinstance(values, dict):
        given = "an empty file" if values is None else f"{type(values).__name__} {show(values)}"
        raise InputError(f"{where} must hold a mapping of keys to values", given, "Write KEY: VALUE lines")
    name = where.rpartition("/")[2]
    return ConfigDocument(values, {key: f"{name}{place}" for key, place in places}, name)


def parse_value(text: str, where: str) -> Any:
    """Read a value as YAML.

    Args:
        text: For example `8`, `[unet, fpn]` or `{low: 0.1, high: 1}`.
        where: For the message.

    Raises:
        InputError: It is not YAML.
    """
    return _parse(text, where)[0]


def _parse(text: str, where: str) -> tuple[Any, list[tuple[str, str]]]:
    try:
        # The constructed values do not say where they stood; the nodes do.
        return yaml.load(text, _Loader), _places(yaml.compose(text, _Loader))
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem).removeprefix("but ")
        said = f"{error.context}: {problem}" if error.context else problem
        place = _in_words(error.problem_mark.line, error.problem_mark.column) if error.problem_mark else ""
        raise InputError(
            f"{where}{place} must be YAML", said, error.note or "Mend it there, or a little above"
        ) from error
    except yaml.reader.ReaderError as error:
        line, column = text.count("\n", 0, error.position), error.position - text.rfind("\n", 0, error.position) - 1
        said = f"the control character {chr(error.character)!r}"
        raise InputError(f"{where}{_in_words(line, column)} must be YAML", said, "Remove it there") from error
    except RecursionError as error:
        raise InputError(
            f"{where} must be YAML", "nesting without an end", "Remove the alias, or the nesting"
        ) from error


def _in_words(line: int, column: int) -> str:
    """A place, counted from 1 as editors do."""
    return f" line {line + 1}, column {column + 1}"


def _places(node: yaml.Node | None, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted keys with the places where they stand."""
    if not isinstance(node, yaml.MappingNode):
        return []
    found = []
    for key, value in node.value:
        dotted = f"{prefix}{key.value}"
        found.append((dotted, _in_words(key.start_mark.line, key.start_mark.column)))
        found += _places(value, f"{dotted}.")
    return found
