"""Ports of loopback for what the tests start."""

import fcntl
import os
import socket
import tempfile
from pathlib import Path

_FIRST, _LAST = 20_000, 29_999
"""Above those of Ray's workers (to 19,999), below those that a kernel hands out by itself (Linux: from 32,768)."""


def free_port() -> int:
    """A port that nobody listens on, and that nobody else is given: neither by this function nor by the kernel.

    However long the caller takes to listen there, no other test process and no connection that is opened meanwhile
    takes it.
    """
    counter = Path(tempfile.gettempdir()) / f"aerosweep-test-ports-{os.getuid()}"
    with counter.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = int(file.read() or _FIRST)
        for _ in range(_LAST - _FIRST):
            port = port + 1 if port < _LAST else _FIRST
            if _is_free(port):
                file.truncate(0)
                file.write(str(port))
                return port
    raise AssertionError(f"no port is free from {_FIRST} to {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
