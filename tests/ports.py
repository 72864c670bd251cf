"""Ports of loopback for what the tests start."""

import socket


def free_port() -> int:
    """A port that nobody listens on; the caller is to take it soon."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
