"""`aerosweep report`: a recorded search, or an image set, as a page of figures."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from aerosweep.closing import on_folder

if TYPE_CHECKING:
    from search.config.search_config import SearchConfig

logger = logging.getLogger(__name__)

_DEFAULT_STORE: Final = "runs/mlflow.db"
"""Where a search that names no tracking URI and no storage has its runs."""


class ImageFormat(StrEnum):
    """Formats of the figures' files."""

    PNG = "png"
    SVG = "svg"
    PDF = "pdf"


@dataclass(frozen=True)
class Recorded:
    """Where a search is recorded, and where its report goes.

    Attributes:
        uri: The tracking URI.
        search: Its id or name there.
        folder: Of the report.
        search_folder: Of the search, for the commands that the report names; None where MLflow alone knows it.
    """

    uri: str
    search: str
    folder: Path
    search_folder: str | None = None


def find_recorded(search: str, tracking_uri: str | None, output: Path | None) -> Recorded:
    """Find a search by its folder, its config file, or its name or id in MLflow.

    Args:
        search: A folder or URL of a recorded search, a config file, or a name or id.
        tracking_uri: Where MLflow is, or None for what the search itself says.
        output: Where the report goes, or None for the folder `report` of the search.

    Raises:
        InputError: No such search has been recorded.
    """
    if "://" in search or Path(search).exists():
        from search.config.config_file import load_recorded_config

        return recorded_by(load_recorded_config(search, [], None), tracking_uri, output)
    return Recorded(tracking_uri or _usual_uri(), search, output or Path(f"report-{search}"))


def recorded_by(config: "SearchConfig", tracking_uri: str | None = None, output: Path | None = None) -> Recorded:
    """Where the search of a config is recorded.

    Raises:
        InputError: Its folder holds none.
    """
    from search.project.tracking_uri import tracking_uri as uri_of
    from search.record.search_folder import read_meta
    from trainable.errors import InputError
    from trainable.record.storage import Storage

    meta = read_meta(Storage(config.folder))
    if meta is None:
        raise InputError(f"a report needs a recorded search in {config.folder}", "none there", "Run the search first")
    uri = tracking_uri or uri_of(config.tracking, config.storage)[0]
    folder = Path(f"report-{config.name}") if "://" in config.folder else Path(config.folder) / "report"
    return Recorded(uri, meta.search_id, output or folder, config.folder)


def _usual_uri() -> str:
    """Of a search that says nothing about it: the environment's, else the SQLite file of `runs`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(_DEFAULT_STORE).resolve()}"


def report_search(
    recorded: Recorded,
    *,
    top: int,
    image_format: ImageFormat,
    dataset_root: str | None,
    console: Console,
    say: Callable[[str], None],
) -> Path:
    """Write the report of a search and attach it to its run in MLflow.

    Args:
        recorded: Which search.
        top: How many of the best trials are shown one by one.
        image_format: Of the figures' files.
        dataset_root: Where the images are, if not where the search had them.
        console: For progress bars.
        say: Prints a line for the user.

    Returns:
        The page.

    Raises:
        InputError: The search cannot be read, or the folder cannot be written.
    """
    from aerosweep.terminal.image_progress import ImageProgress
    from analysis.recorded.mlflow_reader import read_search
    from analysis.report.attached import attach_report
    from analysis.report.files import write_report
    from analysis.report.opened_data import open_data
    from analysis.report.search_report import compose_search_report

    search = read_search(recorded.uri, recorded.search)
    with ImageProgress("decoding", console, say) as on_decode:
        data, why_no_data = open_data(search, dataset_root, on_decode, say)
    document = compose_search_report(search, data, why_no_data, top=top, folder=recorded.search_folder)
    with ImageProgress("drawing figures", console) as on_draw:
        page = write_report(document, recorded.folder, image_format.value, on_draw)
    if problem := attach_report(recorded.uri, search.run_id, page):
        say(f"the report is not in MLflow: {problem}")
    return page


def report_at_the_end(config: "SearchConfig", console: Console, say: Callable[[str], None]) -> None:
    """Write the report of a search that has just ended, where its config wants one; no failure of it is the search's.

    Args:
        config: Of the search, with absolute paths.
        console: For progress bars.
        say: Prints a line for the user.
    """
    if not config.report.write or config.budget.trials == 1:
        return
    try:
        page = report_search(
            recorded_by(config),
            top=config.report.top,
            image_format=ImageFormat(config.report.format),
            dataset_root=None,
            console=console,
            say=say,
        )
    except Exception as error:
        logger.debug("the report failed", exc_info=True)
        command = on_folder("report", config.folder)
        say(f"the report could not be written ({type(error).__name__}: {error}); try `{command}`")
        return
    say(f"report       {page}")


def report_dataset(
    file: Path,
    root: str | None,
    *,
    output: Path | None,
    image_format: ImageFormat,
    console: Console,
    say: Callable[[str], None],
) -> Path:
    """Write the report of an image set.

    Args:
        file: A data-set YAML, or a config that has a `dataset`.
        root: Where the images are, if not where the file says.
        output: Where the report goes, or None for a folder beside.
        image_format: Of the figures' files.
        console: For progress bars.
        say: Prints a line for the user.

    Raises:
        InputError: The set cannot be read, or the folder cannot be written.
    """
    from aerosweep.terminal.image_progress import ImageProgress
    from analysis.report.data_section import compose_dataset_report
    from analysis.report.files import write_report
    from search.config.data_source import source_of_file

    source = source_of_file(file, root)
    with ImageProgress("reading masks", console) as on_read:
        document = compose_dataset_report(source.dataset, source.cache_dir, on_read, say)
    with ImageProgress("drawing figures", console) as on_draw:
        return write_report(document, output or Path(f"report-{file.stem}"), image_format.value, on_draw)
