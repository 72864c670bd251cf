"""The root of an image set, wherever it lies: of a URL a copy is read, and what is wrong is named in the original."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from trainable.data.dataset_problem import Problem
from trainable.data.files.file_selection import FileSelection
from trainable.data.files.remote_folder import local_folder
from trainable.data.image_set import ImageSet


def scan_root(
    root: Path | str,
    wanted: FileSelection,
    cache_dir: Path,
    say: Callable[[str], None] | None,
    scan: Callable[[Path], tuple[ImageSet, list[Problem]]],
) -> tuple[ImageSet, list[Problem]]:
    """Scan a folder, or a copy of one that lies elsewhere.

    Args:
        root: A path or a URL.
        wanted: What is copied of a URL.
        cache_dir: Where copies are kept.
        say: Prints a line for the user when something is copied.
        scan: Reads a folder of this machine.

    Returns:
        What `scan` returns, with the problems where the user can mend them.

    Raises:
        InputError: The set lies elsewhere and cannot be copied.
    """
    folder = local_folder(root, wanted, cache_dir, say)
    image_set, problems = scan(folder)
    return image_set, _located(problems, folder, root)


def _located(problems: Sequence[Problem], folder: Path, root: Path | str) -> list[Problem]:
    """The problems with the places where the user can mend them: of a copy, in its original."""
    if isinstance(root, Path):
        return list(problems)
    return [
        replace(problem, file=None, value=f"{root.rstrip('/')}/{problem.file.relative_to(folder)}: {problem.value}")
        if problem.file is not None and problem.file.is_relative_to(folder)
        else problem
        for problem in problems
    ]
