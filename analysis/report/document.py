"""The content of a report, before it has a form."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.findings.report_texts import PaperTable, Statement
from analysis.subjects.plate import Plate


@dataclass(frozen=True)
class MissingPlate:
    """A figure that could not be made.

    Attributes:
        title: Its heading.
        why: What is missing, why, and what to do.
    """

    title: str
    why: str


@dataclass(frozen=True)
class Section:
    """Some figures under a heading.

    Attributes:
        key: For links: lower-case letters and dashes.
        title: Its heading.
        intro: A sentence or two.
        plates: The figures, and the places of those that could not be made.
    """

    key: str
    title: str
    intro: str
    plates: Sequence[Plate | MissingPlate]


@dataclass(frozen=True, eq=False, kw_only=True)
class Document:
    """A report.

    Attributes:
        title: `aeroscapes: 60 trials`.
        facts: What was searched, on what, when and where: label and value.
        statements: The verdict, the most important first; empty for a report of a data set alone.
        claims: Every number of the statements with its interval and the ids of the runs that it comes from; None where
            nothing is claimed.
        notes: What else a reader must know before quoting any of it: cautions, what is missing.
        command: A command that would tell more (`aerosweep confirm ...`), or None.
        command_why: What it would tell.
        table: To paste into a paper, or None.
        method: A paragraph that states the method; empty for a data set alone.
        sections: The figures.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    statements: Sequence[Statement] = ()
    claims: pd.DataFrame | None = None
    notes: Sequence[str] = ()
    command: str | None = None
    command_why: str = ""
    table: PaperTable | None = None
    method: str = ""
    sections: Sequence[Section] = ()
