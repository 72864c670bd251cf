"""The folder of this machine in which Ray keeps its sockets and logs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trainable.errors import InputError

_SHORT: Final = Path("/tmp")
_SOCKET_BYTES: Final = 107
"""The longest path that Linux takes for a socket."""
_RAY_ADDS: Final = len("/ray/session_2026-11-29_01-35-47_653178_4194304/sockets/plasma_store")
"""What Ray appends to the folder for temporary files, with the largest number that Linux gives a process."""
_LONGEST: Final = _SOCKET_BYTES - _RAY_ADDS
_LEAST_FREE: Final = 50 * 2**20
_PROBE: Final = bytes(2**20)


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Have a folder for Ray: `ray` where its variables say, or one that is gone afterwards where that is too long.

    Yields:
        Its path. It need not exist.
    """
    _, place = _temporary_folder()
    if not _too_long(place):
        yield place / "ray"
        return
    # Nobody else can know its name before it exists, or enter it then: Ray itself opens its own folder to all.
    private = Path(tempfile.mkdtemp(prefix="aerosweep-ray-", dir=_SHORT))
    try:
        yield private / "ray"
    finally:
        shutil.rmtree(private, ignore_errors=True)


def check_ray_folder() -> str | None:
    """Check the folder that `ray_folder` will give.

    Returns:
        A note for the user where it is not where the user's variables say.

    Raises:
        InputError: Ray could not work in it.
    """
    variable, place = _temporary_folder()
    if not _too_long(place):
        _require_room(place / "ray", variable)
        return None
    length = f"{len(os.fsencode(place))} bytes: {place}"
    if variable == "RAY_TMPDIR":
        rule = f"RAY_TMPDIR must have at most {_LONGEST} bytes, because the paths of Ray's sockets begin with it"
        raise InputError(rule, length, "Name a folder with a shorter path (export RAY_TMPDIR=/tmp)")
    _require_room(_SHORT, variable)
    return (
        f"{variable} is too long for the sockets of Ray, which takes {_LONGEST} bytes ({length}). Ray's files lie in "
        f"{_SHORT} while it runs; RAY_TMPDIR can name another folder"
    )


def _temporary_folder() -> tuple[str, Path]:
    """Where Ray keeps its own folder, and the variable that says so: in the order of Ray itself."""
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        if value := os.environ.get(variable):
            return variable, Path(value).absolute()
    return "TMPDIR", Path("/tmp")


def _too_long(place: Path) -> bool:
    return len(os.fsencode(place)) > _LONGEST


def _require_room(folder: Path, variable: str) -> None:
    """Write into the folder, or into the one in which Ray will make it; nothing is left behind."""
    rule = f"Ray needs a folder for its sockets and logs ({variable})"
    remedy = "Set RAY_TMPDIR to a folder that you can write (export RAY_TMPDIR=FOLDER), or free space there"
    existing = next(place for place in (folder, *folder.parents) if os.path.exists(place))  # noqa: PTH110 (it never raises)
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(_PROBE)
    except OSError as error:
        raise InputError(rule, f"{folder}: {error.strerror}", remedy) from error
    free = shutil.disk_usage(existing).free
    if free < _LEAST_FREE:
        value = f"{folder}: {free / 2**20:.0f} MiB free, less than {_LEAST_FREE / 2**20:.0f} MiB"
        raise InputError(rule, value, remedy)
