"""One driver a search: a small file in its folder says who drives it, and how lately."""

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, Final, Self

from trainable.errors import InputError
from trainable.storage import Storage

_FILE: Final = "driver.json"
_RENEW_SECONDS: Final = 20.0
_VALID_SECONDS: Final = 90.0


class Lease:
    """Held while a driver works on a search; a context manager.

    A lease of a process that is gone from this host is free at once, one of another host after 90 seconds of silence.

    Args:
        folder: The search's folder.
    """

    def __init__(self, folder: Storage) -> None:
        self._folder = folder
        self._token = uuid.uuid4().hex
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            InputError: Another driver holds it.
        """
        holder = current_holder(self._folder)
        if holder is not None:
            raise InputError(
                f"a search has one driver at a time ({self._folder.url})",
                f"process {holder['pid']} on {holder['host']}, heard of {time.time() - holder['time']:.0f} s ago",
                "Wait for it or stop it; a driver on another machine that died is forgotten after 90 seconds",
            )
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back."""
        self._done.set()
        self._thread.join(timeout=5)
        self._folder.delete(_FILE)

    def _write(self) -> None:
        facts = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        self._folder.write(_FILE, json.dumps(facts).encode())

    def _renew(self) -> None:
        while not self._done.wait(_RENEW_SECONDS):
            try:
                self._write()
            except OSError:
                # A full disk or an unreachable store ends the search elsewhere, with a reason; the lease just ages.
                continue


def current_holder(folder: Storage) -> dict[str, Any] | None:
    """Who drives the search in `folder` at present, or None."""
    data = folder.read(_FILE)
    if data is None:
        return None
    try:
        holder: dict[str, Any] = json.loads(data)
    except ValueError:
        return None
    if holder["host"] == socket.gethostname():
        return holder if _alive(holder["pid"]) else None
    return holder if time.time() - holder["time"] < _VALID_SECONDS else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
