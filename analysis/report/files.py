"""From a document to files: the page, and every figure with its numbers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, get_args

import pandas as pd

from analysis.report.document import Document, MissingPlate
from analysis.report.gather import failure
from analysis.report.page import PageFigure, render_page
from analysis.report.rendered import ImageFormat, check_keys, render, table_bytes, utf8
from analysis.report.written_files import WrittenFiles
from analysis.subjects.plate import Plate

PAGE: Final = "report.html"

Progress = Callable[[int, int], None]
"""Is told, after each figure, how many are done and how many there are."""


def write_report(
    document: Document, folder: Path, image_format: ImageFormat = "png", on_progress: Progress | None = None
) -> Path:
    """Write `report.html`, `figures/`, `claims.csv` where something is claimed, and `table.csv` and `table.tex`.

    Every figure is `figures/<key>.<format>` with its numbers in `figures/<key>.csv`; one with class colours is also
    `figures/<key>_safe.<format>` in colours that the colour-blind can tell apart. Figures are drawn one at a time. One
    that cannot be drawn costs its own place: the page says why. The page is written last, and whole: until then an
    earlier report's page stays. The same document makes the same files, byte for byte.

    Args:
        document: What to write.
        folder: Where; it is made. Files of an earlier report that this one does not make are removed, no others.
        image_format: Of the figure files; the page embeds its own images.
        on_progress: Is told of each figure that is done.

    Returns:
        The page.

    Raises:
        ValueError: If the format is none of ours.
        OSError: If a file cannot be written.
    """
    if image_format not in get_args(ImageFormat):
        raise ValueError(f"the figures' format must be one of {', '.join(get_args(ImageFormat))}; got {image_format!r}")
    written = WrittenFiles(folder)
    drawn = _draw_all(document, written, image_format, on_progress or (lambda *_: None))
    places = [[next(drawn) for _ in section.plates] for section in document.sections]
    claims_csv = _write_numbers("claims.csv", document.claims, written)
    table_csv = None
    if document.table is not None:
        table_csv = _write_numbers("table.csv", document.table.numbers, written)
        written.write("table.tex", utf8(document.table.latex))
    written.write(PAGE, utf8(render_page(document, places, claims_csv=claims_csv, table_csv=table_csv)))
    written.remove_the_rest()
    return folder / PAGE


def _draw_all(
    document: Document, written: WrittenFiles, image_format: ImageFormat, on_progress: Progress
) -> Iterator[PageFigure | MissingPlate]:
    """What is in each place of the document, section by section; the files are written on the way."""
    places = [place for section in document.sections for place in section.plates]
    plates = [place for place in places if isinstance(place, Plate)]
    wrong_keys = check_keys(plates)
    done = 0
    for place in places:
        if isinstance(place, MissingPlate):
            yield place
            continue
        wrong = wrong_keys.get(done)
        drawn = MissingPlate(place.title, failure(wrong)) if wrong else _draw_one(place, written, image_format)
        done += 1
        on_progress(done, len(plates))
        yield drawn


def _draw_one(plate: Plate, written: WrittenFiles, image_format: ImageFormat) -> PageFigure | MissingPlate:
    rendered = render(plate, image_format)
    if isinstance(rendered, MissingPlate):
        return rendered
    for name, data in rendered.files.values():
        written.write(f"figures/{name}", data)
    csv, csv_bytes = rendered.files["csv"]
    return PageFigure(
        key=plate.key,
        title=plate.title,
        shows=plate.shows,
        says=plate.says,
        alt=plate.alt,
        images=rendered.images,
        csv=f"figures/{csv}",
        csv_bytes=csv_bytes,
    )


def _write_numbers(name: str, numbers: pd.DataFrame | None, written: WrittenFiles) -> bytes | None:
    """Write a table as CSV beside the page; None where there is none."""
    if numbers is None:
        return None
    data = table_bytes(numbers)
    written.write(name, data)
    return data
