"""What this machine lacks is found before images are decoded, where it is the one that trains."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import torch

from search.run.ray_folder import check_ray_folder
from trainable.config.sections import RuntimeConfig
from trainable.errors import InputError
from trainable.network.compilation import require_compiler

_SHARED_MEMORY: Final = Path("/dev/shm")


def check_machine(runtime: RuntimeConfig, address: str | None, say: Callable[[str], None]) -> None:
    """Check that Ray can start on this machine, and that it can compile networks where they are to be compiled.

    Args:
        runtime: Of the search.
        address: Of the Ray cluster, whose machines check themselves; None for this machine.
        say: Prints a line for the user.

    Raises:
        InputError: Ray cannot start: what is to be set or mended.
        SearchFaultError: It cannot compile.
    """
    if address is not None:
        return
    if sys.platform == "linux":  # elsewhere Ray shares memory through its folder for temporary files
        check_shared_memory(_SHARED_MEMORY)
    check_token_folder()
    note = check_ray_folder()
    if note:
        say(f"note: {note}")
    if runtime.compile:
        _check_compiler()


def check_shared_memory(folder: Path) -> None:
    """Check that Ray can share memory. Where there is little, it uses its folder for temporary files instead.

    Args:
        folder: Where the system has it.

    Raises:
        InputError: There is none, or it cannot be written.
    """
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(
            f"Ray needs shared memory ({folder})",
            "a folder that cannot be written" if folder.exists() else "no such folder",
            f"Mount it (mount -t tmpfs -o mode=1777 tmpfs {folder}); in a container, let its runtime do it",
        )


def check_token_folder() -> None:
    """Check that Ray can write the token which keeps others out of it, unless it has one or is to have none.

    Raises:
        InputError: The home folder cannot be written.
    """
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    token = Path.home() / ".ray" / "auth_token"
    if os.path.exists(token):  # noqa: PTH110 (it never raises)
        return
    folder = next(place for place in token.parents if os.path.exists(place))  # noqa: PTH110
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"Ray needs a home folder, in which it keeps its token ({token})",
            f"{folder}, which cannot be written",
            "Set HOME to a folder that you can write (export HOME=FOLDER)",
        )


def _check_compiler() -> None:
    # In a process of its own: torch's compiler stays in the memory of a process, and so does a GPU's context.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        process.submit(require_compiler, device).result()
