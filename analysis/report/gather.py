"""Plates from their builders: one that cannot be made leaves a place that says why, and costs no other."""

import logging
from collections.abc import Callable, Iterable

from analysis.report.document import MissingPlate
from analysis.subjects.plate import Plate, Unavailable

logger = logging.getLogger(__name__)

Builder = tuple[str, Callable[[], Plate]]
"""The title of a plate, for when it cannot be made, and what makes it."""


def gather(builders: Iterable[Builder]) -> list[Plate | MissingPlate]:
    """Make the plates in order."""
    return [_make(title, build) for title, build in builders]


def _make(title: str, build: Callable[[], Plate]) -> Plate | MissingPlate:
    try:
        return build()
    except Unavailable as reason:
        return MissingPlate(title, str(reason))
    except Exception as error:
        # A mistake of ours in one figure must not cost its reader the others.
        logger.exception("the figure %r could not be made", title)
        return MissingPlate(title, failure(error))


def failure(error: Exception) -> str:
    """What the page says of a figure that failed for no reason that its maker knew."""
    return f"It failed with {type(error).__name__}: {error}. That is a defect: please report it with the log."
