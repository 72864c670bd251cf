"""How far the reading of an image set has come."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn


class ImageProgress:
    """A bar that appears with the first image and leaves with the last; called with (images done, images in all).

    Args:
        what: For example "decoding".
        console: Where the bar goes, if it is a terminal.
        say: Prints a line where there is no terminal; None keeps silent.
    """

    def __init__(self, what: str, console: Console, say: Callable[[str], None] | None = None) -> None:
        self._what = what
        self._console = console
        self._say = say
        self._bar: Progress | None = None
        self._began = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` images are read."""
        if not self._began:
            self._began = True
            self._begin(total)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar off the terminal; may be called twice."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _begin(self, total: int) -> None:
        if self._console.is_terminal:
            columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task(self._what, total=total)
            self._bar.start()
        elif self._say is not None:
            self._say(f"{self._what} {total} images")
