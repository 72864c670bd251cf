"""What can be known to fail is found before a tracking server is started: its port, its database, its artifacts."""

import socket

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from search.jobs.server_settings import DATABASE
from trainable.errors import InputError
from trainable.record.storage import Storage, StorageError
from trainable.redaction import in_short, redacted


def require_free(host: str, port: int) -> None:
    """Check that a server can listen there.

    Raises:
        InputError: Something does already, or the address is not this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise InputError(
                "--port must be free, on an address of this machine",
                f"{host}:{port} ({error.strerror})",
                "Give another --port or --host, or stop what listens there",
            ) from None


def require_database(uri: str) -> None:
    """Open the database once; a file of SQLite is made.

    Raises:
        InputError: It does not let us in, or its driver is not installed.
    """
    url = make_url(uri)
    waits = {"connect_timeout": 10} if url.get_backend_name() == "postgresql" else {}
    try:
        with create_engine(url, poolclass=NullPool, connect_args=waits).connect():
            return
    except ImportError as error:
        raise InputError(
            "PostgreSQL needs its driver", f"'{in_short(error)}'", "Run: pip install 'aerosweep[postgresql]'"
        ) from None
    except ArgumentError as error:
        raise InputError("the database must be a URI", f"{redacted(uri)} ({in_short(error)})", "Mend it") from None
    except DBAPIError as error:
        raise InputError(
            "the database must be reachable",
            f"{redacted(uri)} ({in_short(error.orig or error)})",
            f"Start it, or mend {DATABASE}; a password may also stand in PGPASSWORD or ~/.pgpass"
            if waits
            else "Give a path in a folder that exists and is yours",
        ) from None


def require_writable(artifacts: str) -> None:
    """Write a file there, and remove it.

    Raises:
        InputError: That fails.
    """
    try:
        storage = Storage(artifacts)
        storage.write(".aerosweep", b"")
        storage.delete(".aerosweep")
    except StorageError as error:
        raise InputError(
            "--artifacts must be writable",
            f"{artifacts} ({error.value})",
            "Mend it: S3 takes its keys from the environment or from the machine's role, and another server than "
            "Amazon's from AWS_ENDPOINT_URL"
            if artifacts.startswith("s3://")
            else "Give a folder that is yours",
        ) from None
