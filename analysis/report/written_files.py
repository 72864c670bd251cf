"""Which files of a report's folder are ours, so that a later report removes those that it no longer makes."""

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Final

from trainable.record.storage import Storage

logger = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"

_OURS: Final = re.compile(
    r"report\.html|claims\.csv|table\.(csv|tex)|figures/[A-Za-z0-9][A-Za-z0-9_-]*\.(png|svg|pdf|csv)"
)
"""All names that a report writes; nothing else is ever removed, whatever a manifest says."""


class WrittenFiles:
    """Writes a report's files, and remembers them in `manifest.json` with what was in them.

    A file is whole or absent, and is in the manifest before it is in the folder: what an interrupted report left behind
    is known to the next one. Files that somebody changed since are theirs and stay.

    Args:
        folder: Of the report; it need not exist. No other report may be written there at the same time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._storage = Storage(str(self._folder))
        self._known = self._read_manifest()
        self._written: set[str] = set()
        for part in ("", "figures"):
            self._storage.delete_unfinished(part)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, replacing what was there.

        Args:
            name: Its path from the folder.
            data: Its content.

        Raises:
            OSError: If it cannot be written.
        """
        self._written.add(name)
        self._known[name] = hashlib.sha256(data).hexdigest()
        self._write_manifest()
        self._storage.write(name, data)

    def remove_the_rest(self) -> None:
        """Remove what earlier reports wrote and this one did not, as far as it is as they left it."""
        for name in sorted(self._known.keys() - self._written):
            path = self._folder / name
            if _OURS.fullmatch(name) and path.is_file() and _digest(path) == self._known[name]:
                path.unlink()
            del self._known[name]
        self._write_manifest()

    def _read_manifest(self) -> dict[str, str]:
        data = self._storage.read(MANIFEST)
        try:
            files = json.loads(data)["files"] if data else {}
            return {str(name): str(digest) for name, digest in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("%s is damaged: files of earlier reports stay where they are", self._folder / MANIFEST)
            return {}

    def _write_manifest(self) -> None:
        note = (
            "files that `aerosweep report` wrote here, with their SHA-256; it removes them when it makes them no more"
        )
        content = {"about": note, "files": dict(sorted(self._known.items()))}
        self._storage.write(MANIFEST, (json.dumps(content, indent=1) + "\n").encode())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
