"""Where a node keeps decoded images unless the config says otherwise."""

import os
from pathlib import Path


def default_cache_dir() -> Path:
    """The user's cache folder: `$XDG_CACHE_HOME/aerosweep`, else `~/.cache/aerosweep`; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification: a relative path there is invalid and is ignored.
    folder = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return folder / "aerosweep"
