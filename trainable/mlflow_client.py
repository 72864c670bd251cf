"""A client of MLflow that says nothing on the console and does not wait for minutes.

MLflow is imported when a client is made: it takes seconds.
"""

import logging
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_ENVIRONMENT: Final = {
    # A dead server would hold each call for minutes (7 retries of 120 s). And MLflow repeats a call whose answer was
    # late, `create_run` included, which makes a second run: we repeat it ourselves, having looked what is there.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a search tells nobody that it runs
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Set for MLflow unless the user has set them."""


def connect(uri: str) -> "MlflowClient":
    """Make a client; of a new SQLite file the folder is made.

    Args:
        uri: The tracking URI.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"mlflow\.")
    from mlflow.tracking import MlflowClient

    # Where something has imported MLflow before, it has not seen our environment.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"].upper())
    path = sqlite_path(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(uri)


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite tracking URI, or None for any other."""
    sqlite = re.match(r"sqlite[^:]*:///([^?]+)", uri)
    return None if sqlite is None else Path(sqlite[1])


def without_password(uri: str) -> str:
    """The URI as it may be printed."""
    return re.sub(r"(://[^/@:]*):[^@]*@", r"\1:***@", uri)
