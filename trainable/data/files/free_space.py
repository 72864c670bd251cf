"""Space on a disk is asked for before it is filled."""

import shutil
from pathlib import Path
from typing import Final

from trainable.errors import InputError

_SPARE_BYTES: Final = 256 * 2**20
"""Left free on the disk."""


def require_space(folder: Path, needed: int, what: str) -> None:
    """Check that something fits into the cache.

    Args:
        folder: Where it goes; exists.
        needed: Bytes.
        what: For the message, in the plural: "the decoded images".

    Raises:
        InputError: The disk has less free space.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise InputError(
            f"{what} need {(needed + _SPARE_BYTES) / 2**30:.1f} GiB in {folder}",
            f"{free / 2**30:.1f} GiB free",
            "Free space there, or set resources.cache_dir to a larger disk",
        )
