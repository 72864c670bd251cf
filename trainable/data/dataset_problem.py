"""What is wrong with an image set on disk, as data: the reader raises it, the check lists it."""

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainable.errors import InputError

NAMED_AT_MOST = 3
"""How many files (ids, colours) a message names before it says how many more there are."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an image set, or that its user should know.

    Attributes:
        file: Where it was found; None when it concerns the set as a whole.
        rule: What must hold, as a sentence without a full stop.
        value: What was found instead; empty where the rule is a remark that says it all.
        remedy: What to do about it, as a sentence without a full stop; empty likewise.
        warning: True when a search can run all the same.
    """

    file: Path | None
    rule: str
    value: str
    remedy: str
    warning: bool = False

    @property
    def problem(self) -> str:
        """The rule and the value, as an error states them."""
        return f"{self.rule}; got {self.value}" if self.value else self.rule

    @property
    def located_value(self) -> str:
        """The value with the file that has it."""
        return self.value if self.file is None else f"{self.file}: {self.value}"


class ProblemError(InputError):
    """A problem that stops whoever asked for the data; `problem` is the same as data.

    Args:
        problem: What is wrong.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.rule, problem.located_value, problem.remedy)
        self.problem = problem

    def __reduce__(self) -> tuple[type["ProblemError"], tuple[Problem]]:  # type: ignore[override]
        """Keep the problem when the error crosses a process boundary."""
        return type(self), (self.problem,)


def path_fault(path: Path, folder: bool = False) -> str | None:
    """Why a path is no file (or no folder) that could be opened, as the value of a problem; None where it is one.

    Args:
        path: What is looked for.
        folder: Look for a folder.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to nothing" if path.is_symlink() else f"no such {'folder' if folder else 'file'}"
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return os_fault(error)
    if stat.S_ISDIR(mode):
        return None if folder else "a folder"
    if stat.S_ISREG(mode):
        return "a file" if folder else None
    return "neither a file nor a folder"


def os_fault(error: Exception) -> str:
    """What the system said, without the path, which a problem has already."""
    return ((isinstance(error, OSError) and error.strerror) or f"{error}").lower()


def name_some(names: Sequence[str]) -> str:
    """Join the first few names and say how many more there are.

    Args:
        names: What to name, most telling first.

    Returns:
        For example `a, b, c and 4 more`.
    """
    named = ", ".join(names[:NAMED_AT_MOST])
    more = len(names) - NAMED_AT_MOST
    return f"{named} and {more} more" if more > 0 else named


def refuse_any(problems: Sequence[Problem]) -> None:
    """Raise the first problem together with the others that break the same rule.

    Args:
        problems: What a reader found; warnings do not count.

    Raises:
        InputError: When there is a problem.
    """
    errors = [problem for problem in problems if not problem.warning]
    if not errors:
        return
    alike = [problem for problem in errors if problem.rule == errors[0].rule]
    if len(alike) == 1:
        raise ProblemError(alike[0])
    raise InputError(alike[0].rule, name_some([problem.located_value for problem in alike]), alike[0].remedy)
