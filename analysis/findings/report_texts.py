"""What the report says in words, with how far to trust it."""

from dataclasses import dataclass

import pandas as pd

from analysis.evidence.claims import Verdict


@dataclass(frozen=True)
class Statement:
    """A sentence of the first screen.

    Attributes:
        text: With its numbers and intervals.
        verdict: What the evidence says of it, or None where the sentence claims nothing.
        why: The reason for the verdict, in short sentences; may be empty.
    """

    text: str
    verdict: Verdict | None = None
    why: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class PaperTable:
    """A table to paste into a paper.

    Attributes:
        caption: What it holds and how it was made, one or two sentences.
        cells: What is shown: text by row and column, the best of a column not marked.
        latex: The same as a LaTeX `tabular` of booktabs.
        numbers: The numbers behind it, with run ids: a row for each row and metric.
    """

    caption: str
    cells: pd.DataFrame
    latex: str
    numbers: pd.DataFrame
