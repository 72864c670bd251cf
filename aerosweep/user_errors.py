"""A user's mistake and Ctrl-C end a command without a traceback.

Exit codes: 0 done (or out of time), 1 no trial came to anything, 128 + n stopped by signal n, and those of the errors:
2 a mistake in what was given (`InputError`), 3 a search that cannot go on until something outside of it is mended
(`SearchFaultError`), 75 a search that another driver works on (`SearchTakenError`), 70 an error of ours.
"""

import functools
import sys
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import typer

INTERNAL_ERROR: Final = 70
"""EX_SOFTWARE of sysexits.h. Python's own 1 would say that no trial came to anything."""
INTERRUPTED: Final = 130

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def without_traceback(command: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Wrap a command: no traceback for an `InputError`, whose notes are printed below it, and for Ctrl-C."""

    @functools.wraps(command)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        from trainable.errors import InputError

        try:
            return command(*args, **kwargs)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            for note in getattr(error, "__notes__", ()):
                print(note, flush=True)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped
