"""Tables for a terminal, all of one look."""

from rich import box
from rich.table import Table
from rich.text import Text


def text_table(title: str, caption: str | None = None) -> Table:
    """An empty table: a line below the head and none else, as narrow as its columns allow."""
    return Table(
        title=title,
        caption=None if caption is None else Text(caption),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
