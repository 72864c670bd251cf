"""Where MLflow is, and the command that shows it."""

import os
import re
import shlex
from pathlib import Path

from search.config.search_config import TrackingConfig
from trainable.errors import InputError
from trainable.record.mlflow_client import with_password
from trainable.record.storage import Storage
from trainable.redaction import redacted


def tracking_uri(tracking: TrackingConfig, storage: str) -> tuple[str, str | None]:
    """Where MLflow is: the config's word, else MLFLOW_TRACKING_URI, else an SQLite file beside the searches.

    Args:
        tracking: The `tracking` section.
        storage: The folder of all searches, absolute.

    Returns:
        The tracking URI, and where a new experiment keeps its artifacts (None: where the server says).

    Raises:
        InputError: No URI is given and `storage` can hold no SQLite file, or the URI is a folder or lacks its password.
    """
    local = _scheme(storage) in ("", "file", "local")
    uri = tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None or not uri.strip():
        if not local:
            raise InputError(
                "tracking.uri must be set where storage is not a local path",
                f"storage {storage} and neither tracking.uri nor MLFLOW_TRACKING_URI",
                "Start `aerosweep server` (docs/tracking_server.md) and add --set tracking.uri=http://HOST:5000",
            )
        uri = f"sqlite:///{Storage(storage).local_path / 'mlflow.db'}"
    return _resolved(with_password(uri.strip()), storage, local)


def _resolved(uri: str, storage: str, local: bool) -> tuple[str, str | None]:
    if _scheme(uri) in ("", "file") and uri not in ("databricks", "databricks-uc", "uc"):
        raise InputError(
            "tracking.uri (or MLFLOW_TRACKING_URI) must be a server or a database: MLflow no longer writes to folders",
            uri,
            "Write http://HOST:5000 or sqlite:///PATH/mlflow.db",
        )
    sqlite = re.fullmatch(r"(sqlite(?:\+\w+)?):///([^?]+)(\?.*)?", uri)
    if sqlite is not None:
        path = Path(sqlite[2]).expanduser().resolve()
        # Else the artifacts go to ./mlruns of whoever happens to create the experiment.
        return f"{sqlite[1]}:///{path}{sqlite[3] or ''}", (path.parent / "mlartifacts").as_uri()
    if is_database(uri):
        beside = Storage(storage).local_path.as_uri() if local else storage.rstrip("/")
        return uri, f"{beside}/mlartifacts"
    return uri, None


def ui_command(uri: str) -> str:
    """The shell command that opens the MLflow UI of a tracking URI; a password in it is not shown."""
    if is_database(uri):
        return f"mlflow ui --backend-store-uri {shlex.quote(redacted(uri))}"
    return f"python -m webbrowser {shlex.quote(redacted(uri))}"


def is_database(uri: str) -> bool:
    """Whether MLflow reads and writes this URI without a server in between."""
    return _scheme(uri).partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


def _scheme(uri: str) -> str:
    """What stands before `://`; not by `urlsplit`, which raises at passwords with brackets."""
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else ""
