"""What a tracking server is asked to be, and what of that is refused."""

import ipaddress
import os
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from search.jobs.server_folder import ServerFolder
from trainable.errors import InputError
from trainable.redaction import is_redacted, redacted

DATABASE: Final = "MLFLOW_BACKEND_STORE_URI"
"""Environment variable: the database, with its password."""

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine on itself, as they stand in a Host header."""


class ServerSettings(BaseModel):
    """A server, resolved: see `server_settings`.

    `database` holds its password; `allowed_hosts` are the names, beside those of loopback, that it answers to;
    `address` is where clients reach it, as it stands in a URL.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    database: str
    artifacts: str
    host: str
    port: int
    address: str
    allowed_hosts: tuple[str, ...]
    auth: bool

    @property
    def url(self) -> str:
        """The tracking URI for its clients."""
        return f"http://{self.address}:{self.port}"

    def shown(self) -> dict[str, Any]:
        """The settings without passwords."""
        return self.model_dump(mode="json") | {"database": redacted(self.database)}


def server_settings(
    folder: Path,
    *,
    backend_store_uri: str | None = None,
    artifacts: str | None = None,
    host: str = "127.0.0.1",
    port: int = 5000,
    allowed_hosts: Sequence[str] = (),
    auth: bool | None = None,
) -> ServerSettings:
    """Resolve what was asked for; nothing is made or opened.

    Args:
        folder: What the server keeps: see `ServerFolder`.
        backend_store_uri: The database, without a password. None: MLFLOW_BACKEND_STORE_URI, else SQLite in `folder`.
        artifacts: A local folder or s3://...; None: beside the SQLite file, or in `folder`.
        host: The address to listen on, or its name.
        port: The port to listen on.
        allowed_hosts: Names that clients call it by, beside its own.
        auth: Whether a password is asked for; None: where `host` is not loopback.

    Raises:
        InputError: Something is not to be had, or would let strangers in.
    """
    folder = folder.expanduser().resolve()
    database = _database(backend_store_uri, ServerFolder(folder))
    addresses = _addresses(host)
    local = all(address.is_loopback for address in addresses)
    if auth is False and not local:
        raise InputError(
            "a server that other machines reach must ask for a password",
            f"--no-auth with --host {host}",
            "Leave out --no-auth, or listen on 127.0.0.1 and reach it through an SSH tunnel",
        )
    own = _own_address(addresses[0]) if addresses[0].is_unspecified else host
    names = [_valid_name(name) for name in allowed_hosts]
    if not local:
        names = [_bracketed(own), socket.gethostname(), *names]
    return ServerSettings(
        folder=folder,
        database=database.render_as_string(hide_password=False),
        artifacts=_artifacts(artifacts, database, ServerFolder(folder)),
        host=host,
        port=port,
        address=_bracketed(own),
        allowed_hosts=tuple(dict.fromkeys(name for name in names if name not in LOOPBACK)),
        auth=not local if auth is None else auth,
    )


def _database(option: str | None, folder: ServerFolder) -> URL:
    """The database as a URL; the path of SQLite absolute."""
    if option is not None and redacted(option) != option:
        raise InputError(
            "--backend-store-uri must be without a password, which every user of this machine reads in its list of "
            "processes",
            option,
            f"Set {DATABASE} to the whole URI, or keep the password in PGPASSWORD or ~/.pgpass",
        )
    uri = (option or os.environ.get(DATABASE, "")).strip() or folder.database
    example = "Write postgresql://USER@HOST/DATABASE or sqlite:///PATH"
    if is_redacted(uri):
        raise InputError("the database's URI must have its password", uri, f"Set {DATABASE} to the whole URI")
    try:
        url = make_url(uri)
    except ArgumentError:
        raise InputError("the database must be a URI", uri, example) from None
    kind = url.get_backend_name()
    if kind not in ("postgresql", "sqlite") or not url.database:
        raise InputError("the database must be a PostgreSQL database or a file of SQLite", uri, example)
    return url.set(database=str(Path(url.database).expanduser().resolve())) if kind == "sqlite" else url


def _artifacts(given: str | None, database: URL, folder: ServerFolder) -> str:
    if given is None:
        beside = database.database if database.get_backend_name() == "sqlite" else None
        return str(folder.artifacts if beside is None else Path(beside).parent / folder.artifacts.name)
    scheme, separator, path = given.partition("://")
    if not separator:
        return str(Path(given).expanduser().resolve())
    if scheme != "s3" or not path.strip("/"):
        raise InputError(
            "--artifacts must be a local folder or a place on S3", given, "Write a path, or s3://BUCKET/FOLDER"
        )
    return given.rstrip("/")


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            "--host must be an address of this machine", f"{host} ({error})", "Write 127.0.0.1, or 0.0.0.0 for all"
        ) from None
    return [ipaddress.ip_address(entry[4][0]) for entry in found]


def _own_address(listening: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The address that other machines reach this one by, as the routes have it; else its name."""
    if listening.version == 4:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses the address that it would send from
            return str(probe.getsockname()[0])
    return socket.gethostname()


def _valid_name(name: str) -> str:
    """A name as it stands in a Host header, without a port."""
    with suppress(ValueError):
        return _bracketed(str(ipaddress.ip_address(name.strip("[]"))))
    # No patterns: "*" would let any page that a browser shows talk to the server.
    if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name):
        raise InputError("--allowed-host must be a host's name or address, without a port", name, "Write head.example")
    return name


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
