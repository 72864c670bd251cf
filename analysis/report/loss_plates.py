"""Figures of what the losses did: compared at equal effort, class by class, and over the Tversky loss's parameters."""

from collections.abc import Callable
from functools import partial

from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.losses_compared import class_plate as loss_classes_plate
from analysis.subjects.losses_compared import plate as losses_plate
from analysis.subjects.plate import Plate
from analysis.subjects.tversky_landscape import plate as tversky_plate


def loss_plates(search: RecordedSearch) -> list[tuple[str, Callable[[], Plate]]]:
    """The figures of losses: their titles, and what makes each or raises `Unavailable`."""
    return [
        (losses_plate.TITLE, partial(losses_plate.make, search)),
        (loss_classes_plate.TITLE, partial(loss_classes_plate.make, search)),
        (tversky_plate.TITLE, partial(tversky_plate.make, search)),
    ]
