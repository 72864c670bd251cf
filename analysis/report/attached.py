"""The report as an artifact of its search, so that it opens inside the MLflow UI."""

from pathlib import Path
from typing import Final

from trainable.record.mlflow_client import connect
from trainable.redaction import in_short

ARTIFACT_FOLDER: Final = "report"


def attach_report(uri: str, run_id: str, page: Path) -> str:
    """Log the page as an artifact; one that is there is replaced.

    Args:
        uri: The tracking URI.
        run_id: The search's parent run.
        page: The HTML file, which needs no other.

    Returns:
        Why it could not be logged, or nothing. The page exists all the same.
    """
    try:
        connect(uri).log_artifact(run_id, str(page), ARTIFACT_FOLDER)
    except Exception as error:  # a tracker may raise anything
        return in_short(error)
    return ""
