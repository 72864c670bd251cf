"""Tables as CSV, all written alike."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Final

_DECIMALS: Final = 6


def csv_bytes(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV, UTF-8; None and NaN are empty cells, a tuple is its values with spaces between."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, _DECIMALS)
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
