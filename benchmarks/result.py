"""What every benchmark prints and writes."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        case: What is compared, with its unit.
        ours: Our figure.
        peer: The peer's.
        ratio: Over 1 where we win.
    """

    case: str
    ours: float
    peer: float
    ratio: float


def lower_is_better(case: str, ours: float, peer: float) -> Row:
    """A row of times or sizes."""
    return Row(case, ours, peer, peer / ours)


def publish(name: str, rows: Sequence[Row], json_file: Path | None) -> None:
    """Print the table, and write `{"name", "rows", "machine"}` where a file is given."""
    table = Table("case", "ours", "peer", "ratio (over 1: we win)", title=name)
    for row in rows:
        table.add_row(Text(row.case), f"{row.ours:.4g}", f"{row.peer:.4g}", f"{row.ratio:.2f}")
    Console().print(table)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        content = {"name": name, "rows": [asdict(row) for row in rows], "machine": machine()}
        json_file.write_text(json.dumps(content, indent=1) + "\n")


def require(met: bool, otherwise: str) -> None:
    """Check that both sides did the same, or that a side did what it is timed for.

    Raises:
        RuntimeError: They did not.
    """
    if not met:
        raise RuntimeError(otherwise)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpu": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
