"""A user's mistake and Ctrl-C end a command without a traceback."""

import functools
import sys
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import typer

USER_ERROR: Final = 2
SEARCH_FAULT: Final = 3
"""Not the user's mistake: once it is mended, the same command with --resume continues."""
INTERRUPTED: Final = 130

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def without_traceback(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Wrap a command: no traceback for a mistake (exits with 2), a search that cannot go on (3), Ctrl-C (130)."""

    @functools.wraps(command)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        from trainable.errors import InputError, SearchFaultError

        try:
            return command(*args, **kwargs)
        except SearchFaultError as fault:
            print(f"error: {fault}", file=sys.stderr)
            raise typer.Exit(SEARCH_FAULT) from None
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped
