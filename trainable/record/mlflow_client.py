"""A client of MLflow that says nothing on the console and does not wait for minutes.

MLflow is imported when a client is made: it takes seconds.
"""

import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

from trainable.errors import InputError
from trainable.redaction import is_redacted, redacted

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_ENVIRONMENT: Final = {
    # A dead server would hold each call for minutes (7 retries of 120 s). And MLflow repeats a call whose answer was
    # late, `create_run` included, which makes a second run: we repeat it ourselves, having looked what is there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # What it logs as an error, with the trace of a locked database, it also raises, and we say it in a line.
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a search tells nobody that it runs
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Set for MLflow unless the user has set them."""


def connect(uri: str) -> "MlflowClient":
    """Make a client; a new SQLite file and its folder are made.

    Args:
        uri: The tracking URI.

    Raises:
        InputError: It lacks its password, and the environment does not have it.
    """
    uri = with_password(uri)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"mlflow\.")
    from mlflow.tracking import MlflowClient

    # Where something has imported MLflow before, it has not seen our environment.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    path = sqlite_path(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()  # as the user's umask has it; SQLite would never let a group write
    return MlflowClient(uri)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite tracking URI, or None for any other."""
    sqlite = re.match(r"sqlite[^:]*:///([^?]+)", uri)
    return None if sqlite is None else Path(sqlite[1])


def with_password(uri: str) -> str:
    """The tracking URI to connect to: where it was read back without its password, that of the environment.

    Raises:
        InputError: The environment does not have it.
    """
    if not is_redacted(uri):
        return uri
    known = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if is_redacted(known) or redacted(known) != uri:
        raise InputError(
            "the tracking URI must have its password, which nothing that we write keeps",
            uri,
            "Set MLFLOW_TRACKING_URI to the whole URI, or give it by --set tracking.uri=URI (--tracking-uri URI for a "
            "report); an http server also takes MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD beside a URI "
            "without them",
        )
    return known
