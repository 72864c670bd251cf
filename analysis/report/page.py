"""A report as one HTML file that needs nothing else: no network, no server, no other file."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

import jinja2
import pandas as pd
from markupsafe import Markup

from analysis.evidence.claims import Verdict
from analysis.report.document import Document, MissingPlate
from analysis.report.raster import EmbeddedImage

LARGEST_EMBEDDED_CSV: Final = 100_000
"""Bytes; of a larger one the page names the file only."""

_NUMBER: Final = re.compile(r"[-+\u2212\u00b1]?\.?\d.*|[-\u2013\u2014]?")


@dataclass(frozen=True)
class PageFigure:
    """What the page needs of a figure, of which the files are written already.

    Attributes:
        key: Its anchor.
        title: Its heading.
        shows: What it shows.
        says: What these data say; may be empty.
        alt: Text alternative of its images.
        images: By the name of the palette.
        csv: Path of its numbers from the page's folder.
        csv_bytes: The numbers.
    """

    key: str
    title: str
    shows: str
    says: str
    alt: str
    images: Mapping[str, EmbeddedImage]
    csv: str
    csv_bytes: bytes


Place = PageFigure | MissingPlate
"""A figure, or what stands in its place."""


def render_page(
    document: Document,
    places: Sequence[Sequence[Place]],
    *,
    claims_csv: bytes | None = None,
    table_csv: bytes | None = None,
) -> str:
    """The report's page.

    Args:
        document: What it says.
        places: The figures of each of the document's sections.
        claims_csv: The document's claims, as CSV.
        table_csv: The numbers behind the document's table, likewise.
    """
    style, script = _resource("report.css"), _resource("report.js")
    figures = [place for section in places for place in section if isinstance(place, PageFigure)]
    return _environment().from_string(_resource("report.html.j2")).render(
        document=document,
        sections=list(zip(document.sections, _numbered(places), strict=True)),
        has_palettes=any(len(figure.images) > 1 for figure in figures),
        verdicts=[verdict for verdict in Verdict if any(s.verdict is verdict for s in document.statements)],
        table=None if document.table is None else _table_rows(document.table.cells),
        claims_csv=claims_csv,
        table_csv=table_csv,
        style=Markup(style),
        script=Markup(script),
        style_hash=_source_hash(style),
        script_hash=_source_hash(script),
    )  # fmt: skip


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["fits"] = lambda data: len(data) <= LARGEST_EMBEDDED_CSV
    environment.tests["figure"] = lambda place: isinstance(place, PageFigure)
    return environment


def _resource(name: str) -> str:
    return resources.files("analysis.report").joinpath(name).read_text(encoding="utf-8")


def _source_hash(source: str) -> str:
    """What a content security policy knows an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def data_uri(data: bytes, mime: str) -> str:
    """A file within the page."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _numbered(places: Sequence[Sequence[Place]]) -> list[list[tuple[int, Place]]]:
    """Each figure with its number in the report, from 1; what stands for a missing one has number 0."""
    numbered: list[list[tuple[int, Place]]] = []
    count = 0
    for section in places:
        numbered.append([])
        for place in section:
            count += isinstance(place, PageFigure)
            numbered[-1].append((count if isinstance(place, PageFigure) else 0, place))
    return numbered


@dataclass(frozen=True)
class TableRows:
    """A table as HTML has it.

    Attributes:
        header: Of each column, that of the row names first.
        numeric: Of each column, whether it holds numbers.
        rows: Texts, the row's name first.
    """

    header: list[str]
    numeric: list[bool]
    rows: list[list[str]]


def _table_rows(cells: pd.DataFrame) -> TableRows:
    """Its index names the rows, unless it only counts them: then the first column does."""
    counts_only = isinstance(cells.index, pd.RangeIndex) and cells.index.name is None
    names = ["" if name is None else name for name in cells.index.names]
    frame = cells if counts_only else cells.reset_index(names=names, allow_duplicates=True)
    header = [_label(name) for name in frame.columns]
    rows = [["" if pd.isna(value) else str(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    numeric = [all(_NUMBER.fullmatch(value) for value in column) for column in zip(*rows, strict=True)]
    return TableRows(header, numeric or [False] * len(header), rows)


def _label(name: object) -> str:
    """A column's name; one of several levels in one line."""
    return " ".join(str(part) for part in name if part != "") if isinstance(name, tuple) else str(name)
