"""Losses and models of the user's own, named in a config as `package.module:Class`."""

import importlib
import inspect
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, Final

from trainable.errors import InputError

Option = bool | int | float | str
"""A hyperparameter of a class of the user's own."""

_REFERENCE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_reference(name: str) -> bool:
    """Whether a name has the form `package.module:Class`."""
    return _REFERENCE.fullmatch(name) is not None


def check_name(name: str, known: Collection[str], rule: str) -> str:
    """Check a name that a config gives: one of ours, or a class of the user's own.

    Raises:
        ValueError: With the rule, where it is neither.
    """
    if name in known or is_reference(name):
        return name
    raise ValueError(rule)


@cache
def load_class(reference: str) -> type[Any]:
    """Import a class.

    Args:
        reference: `package.module:Class`, importable on every machine that runs a trial.

    Raises:
        InputError: There is no such module or class, or importing it raises.
    """
    module_name, _, class_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise InputError(
            f"{reference} must name a module that can be imported",
            f"{type(error).__name__}: {error}",
            "Start the command in the folder that has it, install it, or add its folder to PYTHONPATH",
        ) from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise InputError(
            f"{reference} must name a class of {module_name}",
            f"no class {class_name}",
            f"Choose one of {', '.join(classes)}" if classes else "Define it there",
        )
    return found


def accepted(reference: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the names that the class's constructor takes as keyword arguments.

    Raises:
        InputError: The class cannot be had.
    """
    parameters = _constructor(reference).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return names
    keywords = _keywords(reference)
    return tuple(name for name in names if name in keywords)


def construct(reference: str, options: Mapping[str, Option], offered: Mapping[str, Any]) -> Any:
    """Make an object of a class of the user's own.

    Args:
        reference: `package.module:Class`.
        options: Keyword arguments from the user's config: the constructor must take all of them.
        offered: Further keyword arguments, of which it gets those that it takes.

    Raises:
        InputError: The class cannot be had, its constructor does not fit the arguments, or it raises.
    """
    arguments = {name: offered[name] for name in accepted(reference, tuple(offered))} | dict(options)
    try:
        _constructor(reference).bind(**arguments)
    except TypeError as error:
        raise _misfit(reference, arguments, str(error)) from error
    try:
        return load_class(reference)(**arguments)
    except Exception as error:  # whatever the user's class raises
        raise InputError(
            f"{reference} must accept {_shown(arguments)}",
            in_one_line(error),
            "Mend the class, or give it other options",
        ) from error


def in_one_line(error: Exception) -> str:
    """An exception as a part of a sentence."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300].rstrip('.')}"


def _constructor(reference: str) -> inspect.Signature:
    found = load_class(reference)
    owner = next(each for each in found.__mro__ if "__init__" in vars(each))
    # nn.Module's own constructor is written (*args, **kwargs) and takes nothing.
    return inspect.Signature() if owner.__module__ == "torch.nn.modules.module" else inspect.signature(found)


def _keywords(reference: str) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [name for name, each in _constructor(reference).parameters.items() if each.kind in kinds]


def _misfit(reference: str, arguments: Mapping[str, Any], problem: str) -> InputError:
    keywords = _keywords(reference)
    takes = f"It takes {', '.join(keywords)}" if keywords else "It takes no keyword arguments"
    remedy = f"{takes}: give what is missing under options, and nothing else"
    return InputError(f"{reference} must be made with {_shown(arguments)}", problem, remedy)


def _shown(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"
