"""One driver a search: a small file in its folder says who drives it, and how lately."""

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any, ClassVar, Final, Self

from trainable.errors import InputError, SearchFaultError
from trainable.record.storage import Storage, StorageError

_FILE: Final = "driver.json"
_RENEW_SECONDS: Final = 20.0
_VALID_SECONDS: Final = 90.0
_RULE: Final = "a search has one driver at a time"


class SearchTakenError(InputError):
    """Another driver works on the search, or one that died did until a moment ago: it passes by itself."""

    exit_code: ClassVar[int] = 75  # EX_TEMPFAIL of sysexits.h


class Lease:
    """Held while a driver works on a search; a context manager.

    It is renewed every 20 seconds. One that was not for 90 seconds is free: its driver is dead, or was asleep and finds
    out when it wakes. That of a process that is gone from this host is free at once. What killed drivers have left
    half-written is cleared away.

    Args:
        folder: The search's folder.
        renew_seconds: Between renewals.
    """

    def __init__(self, folder: Storage, renew_seconds: float = _RENEW_SECONDS) -> None:
        self._folder = folder
        self._renew_seconds = renew_seconds
        self._token = uuid.uuid4().hex
        self._taken_by: dict[str, Any] | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            SearchTakenError: Another driver holds it.
        """
        holder = current_holder(self._folder)
        if holder is None:
            self._folder.delete(_FILE)
            # Of two that come at once, one finds the other's.
            holder = None if self._folder.create(_FILE, self._facts()) else _read(self._folder)
        if holder is not None:
            raise SearchTakenError(
                f"{_RULE} ({self._folder.url})",
                f"{_name(holder)}, heard of {max(0, time.time() - holder['time']):.0f} s ago",
                f"Wait for it or stop it; a driver that died is forgotten after {_VALID_SECONDS:.0f} seconds",
            )
        self._thread.start()
        # What writers that were killed have left: nobody else writes here now.
        self._folder.delete_unfinished("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back."""
        self._done.set()
        self._thread.join(timeout=5)
        if self._own():
            self._folder.delete(_FILE)

    @property
    def held(self) -> bool:
        """False once another driver has taken over."""
        return self._taken_by is None

    def require_held(self) -> None:
        """Check that no other driver has taken over.

        Raises:
            SearchFaultError: One has, after this process was silent for so long that it passed for dead.
        """
        if self._taken_by is not None:
            raise SearchFaultError(
                f"{_RULE} ({self._folder.url})",
                f"{_name(self._taken_by)}, which took over while this one was not heard of",
                "Let that one go on; nothing that was recorded is lost",
            )

    def _facts(self) -> bytes:
        facts = {"token": self._token, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        return json.dumps(facts).encode()

    def _renew(self) -> None:
        while not self._done.wait(self._renew_seconds):
            try:
                if not self._own():
                    self._taken_by = _read(self._folder) or {"pid": "?", "host": "?"}
                    return
                self._folder.write(_FILE, self._facts())
            except StorageError:
                # The search itself ends for it, with the reason; the lease just ages.
                continue

    def _own(self) -> bool:
        """Whether the file is still ours; one that is gone, or damaged, is nobody's and so still ours."""
        holder = _read(self._folder)
        return holder is None or holder["token"] == self._token


def current_holder(folder: Storage) -> dict[str, Any] | None:
    """Who drives the search in `folder` at present, or None."""
    holder = _read(folder)
    if holder is None or time.time() - holder["time"] >= _VALID_SECONDS:
        return None
    gone = holder["host"] == socket.gethostname() and not _alive(holder["pid"])
    return None if gone else holder


def _read(folder: Storage) -> dict[str, Any] | None:
    try:
        holder = json.loads(folder.read(_FILE) or b"")
        return {key: holder[key] for key in ("token", "host", "pid", "time")}
    except (ValueError, TypeError, KeyError):
        return None


def _name(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
