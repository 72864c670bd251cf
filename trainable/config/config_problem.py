"""What pydantic finds wrong with a config, as our errors: rule, value, remedy."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails

from trainable.errors import InputError
from trainable.redaction import redacted

_LONGEST_VALUE: Final = 120


class ConfigError(InputError):
    """Several mistakes at once, so that they can be mended at once.

    Args:
        problems: At least one.
    """

    def __init__(self, problems: Sequence[InputError]) -> None:
        first = problems[0]
        super().__init__(first.rule, first.value, first.remedy)
        self.problems = tuple(problems)
        if len(problems) > 1:
            self.args = ("\n".join([f"{len(problems)} problems:", *(f"  {problem}" for problem in problems)]),)

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[tuple[InputError, ...]]]:  # type: ignore[override]
        """Keep the problems when the error crosses a process boundary."""
        return type(self), (self.problems,)


def flatten(error: InputError) -> tuple[InputError, ...]:
    """The single mistakes that an error holds."""
    return error.problems if isinstance(error, ConfigError) else (error,)


def raise_all(problems: Sequence[InputError]) -> None:
    """Raise the problems, if there are any, as one error."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ConfigError(problems)


def show(value: object) -> str:
    """A value as a message quotes it: YAML's words for null and booleans, shortened."""
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else redacted(repr(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def unknown_key(key: str, value: object, siblings: Iterable[str], everywhere: Iterable[str] = ()) -> InputError:
    """The error for a key that does not exist.

    Args:
        key: The whole key (`budget.trails`).
        value: What it was given.
        siblings: The names that exist at its level.
        everywhere: Whole keys that exist anywhere, for one that was put into the wrong section.
    """
    section, _, name = key.rpartition(".")
    names = list(siblings)
    meant = _meant(section, name, names, list(everywhere))
    known = f"The keys {f'of {section}' if section else 'at the top level'} are {', '.join(names)}"
    return InputError(f"{key} is not a key of the config", show(value), f"{meant}{known}")


def _meant(section: str, name: str, siblings: list[str], everywhere: list[str]) -> str:
    by_name: dict[str, str] = {}
    for other in everywhere:
        by_name.setdefault(other.rpartition(".")[2], other)
    close = [by_name[name]] if name in by_name else []
    close += [
        f"{section}.{match}" if section else match for match in difflib.get_close_matches(name.lower(), siblings, n=1)
    ]
    close += [by_name[match] for match in difflib.get_close_matches(name.lower(), list(by_name), n=1, cutoff=0.7)]
    return f"Did you mean {close[0]}? " if close else ""


def describe(details: ErrorDetails, key: str) -> tuple[InputError, ...]:
    """Turn one error of pydantic into ours.

    Args:
        details: Of any type but `extra_forbidden`, which `unknown_key` is for.
        key: The whole key that it is about.

    Returns:
        One error; several where a validator of ours found several.
    """
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return _describe_own(context.get("error"), details, key)
    if details["type"] == "missing":
        return (InputError(f"{key} must be given", "none", f"Add {key} to the config, or --set {key}=VALUE"),)
    rule, remedy = _rule(details, context)
    if details["input"] is None:
        remedy = f"Give it a value, or remove {key}"
    return (InputError(f"{key} {rule}", show(details["input"]), remedy or f"Mend {key}"),)


def _describe_own(error: object, details: ErrorDetails, key: str) -> tuple[InputError, ...]:
    if isinstance(error, InputError):
        return flatten(error)
    message = str(error)
    if match := re.fullmatch(r"(.*?); got (.*?)\. ([^.].*)", message, flags=re.DOTALL):
        return (InputError(match[1], match[2], match[3].rstrip(".")),)
    return (InputError(f"{key} {message}", show(details["input"]), f"Mend {key}"),)


def _rule(details: ErrorDetails, context: Mapping[str, Any]) -> tuple[str, str]:
    """Rule (without its subject) and remedy; no remedy where there is nothing better to say than to mend it."""
    kind = details["type"]
    if kind in _FIXED_RULES:
        return _FIXED_RULES[kind]
    if kind in _BOUNDS:
        return _BOUNDS[kind](context)
    if kind == "literal_error":
        return _literal_rule(details["input"], str(context["expected"]))
    if kind.startswith(("int_", "float_", "bool_")):
        return _NUMBER_RULES[kind.partition("_")[0]]
    message = details["msg"]
    return f"is refused ({message[0].lower()}{message[1:]})", ""


_FIXED_RULES: Final[dict[str, tuple[str, str]]] = {
    "string_type": ("must be text", "Write it as text, in quotes if need be"),
    "string_too_short": ("must not be empty", "Give it a value, or remove the key"),
    "string_too_long": ("must be shorter", "Shorten it"),
    "finite_number": ("must be a finite number", "Give a number that is neither infinite nor NaN"),
    "model_type": ("must be a mapping of keys to values", "Write KEY: VALUE lines below it, or {KEY: VALUE}"),
    "model_attributes_type": (
        "must be a mapping of keys to values",
        "Write KEY: VALUE lines below it, or {KEY: VALUE}",
    ),
    "dict_type": ("must be a mapping of keys to values", "Write KEY: VALUE lines below it, or {KEY: VALUE}"),
    "list_type": ("must be a list", "Write [A, B]"),
    "path_type": ("must be a path", "Put it into quotes"),
    "invalid_key": ("must be text, as every key is", "Put it into quotes"),
}

_NUMBER_RULES: Final[dict[str, tuple[str, str]]] = {
    "int": ("must be a whole number", "Give a whole number"),
    "float": ("must be a number", "Give a number"),
    "bool": ("must be true or false", "Write true or false"),
}

_BOUNDS: Final[dict[str, Callable[[Mapping[str, Any]], tuple[str, str]]]] = {
    "greater_than": lambda context: (f"must be above {_exactly(context['gt'])}", "Raise it"),
    "greater_than_equal": lambda context: (f"must be at least {_exactly(context['ge'])}", "Raise it"),
    "less_than": lambda context: (f"must be below {_exactly(context['lt'])}", "Lower it"),
    "less_than_equal": lambda context: (f"must be at most {_exactly(context['le'])}", "Lower it"),
}


def _exactly(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _literal_rule(value: object, expected: str) -> tuple[str, str]:
    options = [text or number for text, number in re.findall(r"'([^']*)'|(\d+)", expected)]
    listed = ", ".join(options)
    if isinstance(value, list):
        return f"must be one of {listed}", "Give one of them, not a list"
    close = difflib.get_close_matches(str(value).lower(), options, n=1)
    return f"must be one of {listed}", f"Did you mean {close[0]}? Choose one of them" if close else "Choose one of them"
