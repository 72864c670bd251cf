"""The folder of a tracking server: its databases, its secrets and who runs it, readable by its owner alone."""

import os
import secrets
import shlex
import socket
import tempfile
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from filelock import FileLock
from pydantic import BaseModel, ValidationError
from sqlalchemy import URL

from trainable.errors import InputError

_ADMIN: Final = "admin"
_PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"


class RunningServer(BaseModel):
    """Who holds a folder.

    `settings` are those that it was started with, without passwords.
    """

    pid: int
    node: str
    settings: dict[str, Any]


class ServerFolder:
    """The folder of a tracking server.

    Args:
        path: Absolute; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.credentials = path / "credentials.env"
        self.log = path / "mlflow.log"
        self.artifacts = path / "mlartifacts"
        self.database = _sqlite(path / "mlflow.db")
        self._users = path / "users.db"
        self._note = path / "running.json"

    def make(self) -> None:
        """Make the folder, with mode 700, where it does not exist.

        Raises:
            InputError: It cannot be made, or others may look into it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.path.stat()
        except OSError as error:
            raise InputError(
                "--folder must be a folder that can be made", f"{self.path}: {error.strerror}", "Give another --folder"
            ) from error
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise InputError(
                "--folder must be yours, and readable by you alone: it holds passwords",
                f"{self.path} of user {status.st_uid} with mode {status.st_mode & 0o777:o}",
                f"Give a new --folder, or run: chmod 700 {shlex.quote(str(self.path))}",
            )

    def lock(self) -> FileLock:
        """The lock that a running server holds; it goes with its process, however that ends."""
        return FileLock(self.path / "lock", timeout=0, mode=0o600)

    def write_running(self, settings: dict[str, Any]) -> None:
        """Note that this process holds the folder."""
        note = RunningServer(pid=os.getpid(), node=socket.gethostname(), settings=settings)
        self._write(self._note, note.model_dump_json())

    def running(self) -> RunningServer | None:
        """Who holds the folder, or None where that has not been noted yet; ask only while it is held."""
        try:
            return RunningServer.model_validate_json(self._note.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def admin(self) -> tuple[str, str]:
        """The administrator's name and password; made at the first call, and kept.

        Raises:
            InputError: The password is lost, while MLflow still has its user.
        """
        if self.credentials.exists():
            password = dotenv_values(self.credentials).get(_PASSWORD)
        elif self._users.exists():
            password = None
        else:
            password = secrets.token_urlsafe(24)
            lines = (f"export MLFLOW_TRACKING_USERNAME={_ADMIN}", f"export {_PASSWORD}={password}", "")
            self._write(self.credentials, "\n".join(lines))
        if not password:
            raise InputError(
                f"{self.credentials} must have the password of the user {_ADMIN}, as {self._users.name} knows it",
                f"no {_PASSWORD} there" if self.credentials.exists() else "no such file",
                f"Put it back; if it is lost, delete {self._users.name}: that makes a new one, and MLflow forgets its "
                "users, but no run",
            )
        return _ADMIN, password

    def auth_environment(self) -> dict[str, str]:
        """What MLflow's basic authentication reads from its environment.

        Raises:
            InputError: See `admin`.
        """
        name, password = self.admin()
        config = self.path / "basic_auth.ini"
        self._write(config, _auth_config(_sqlite(self._users)))
        key = self.path / "secret_key"
        if not key.exists():
            self._write(key, secrets.token_urlsafe(32))
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_USERNAME": name,
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": key.read_text(),
        }

    def _write(self, path: Path, text: str) -> None:
        """Write a file of mode 600: it is whole or absent, whatever dies meanwhile."""
        descriptor, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{path.name}-")
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)


def _sqlite(path: Path) -> str:
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _auth_config(database: str) -> str:
    # ConfigParser takes a single % for the begin of a reference.
    escaped = database.replace("%", "%%")
    # Without the cache each request hashes the password anew, for tens of milliseconds. The admin's own does not change
    # meanwhile; of another user's, a change counts a minute later.
    return f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {escaped}\nauth_cache_ttl_seconds = 60\n"
