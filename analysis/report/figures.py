"""Which figures a report has, and in which order.

A new figure is a subject of `analysis/subjects/`, whose plate says what it shows, and a line here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.recorded.recorded_search import RecordedSearch, RecordedTrial
from analysis.report.gather import Builder
from analysis.subjects.class_distribution.plate import (
    DISTRIBUTION,
    SCALE,
    class_distribution_plate,
    class_scale_plate,
)
from analysis.subjects.confusion.plate import confusion_plate
from analysis.subjects.curves.plate import class_iou_plate, loss_curves_plate, training_curves_plate
from analysis.subjects.example_images.plate import EXAMPLES, example_images_plate
from analysis.subjects.importance.plate import IMPORTANCE, importance_plate
from analysis.subjects.losses_compared.class_plate import LOSSES_BY_CLASS, losses_by_class_plate
from analysis.subjects.losses_compared.plate import LOSSES_COMPARED, losses_compared_plate
from analysis.subjects.mean_image.plate import AVERAGE, POSITIONS, average_image_plate, class_maps_plate
from analysis.subjects.misclassified.plate import misclassified_plate
from analysis.subjects.misses.plate import CONFIRMED, MISSED, confirmed_plate, missed_plate
from analysis.subjects.plate import Plate
from analysis.subjects.scenes.plate import GAINS, SCORES, scene_gains_plate, scene_scores_plate
from analysis.subjects.trade_off.plate import TRADE_OFF, trade_off_plate
from analysis.subjects.tversky_landscape.plate import TVERSKY, tversky_plate
from trainable.data.image_set import ImageSet, LabelClass
from trainable.data.scene_split import SplitAssignment


@dataclass(frozen=True)
class SearchFigure:
    """A figure that is made of a search.

    Attributes:
        title: For where it cannot be made.
        make: Makes its plate, or raises `Unavailable`.
        of_confirmations: Whether only a search that was confirmed has it.
    """

    title: str
    make: Callable[[RecordedSearch], Plate]
    of_confirmations: bool = False


LOSSES: Final = (
    SearchFigure(LOSSES_COMPARED, losses_compared_plate),
    SearchFigure(LOSSES_BY_CLASS, losses_by_class_plate),
    SearchFigure(TVERSKY, tversky_plate),
    SearchFigure("All losses over the epochs", loss_curves_plate),
)
"""What the losses did."""

THINGS: Final = (
    SearchFigure(TRADE_OFF, trade_off_plate),
    SearchFigure(MISSED, missed_plate),
    SearchFigure(CONFIRMED, confirmed_plate, of_confirmations=True),
)
"""What finding more things costs, and which of them each loss misses."""

SCENES: Final = (SearchFigure(SCORES, scene_scores_plate), SearchFigure(GAINS, scene_gains_plate))
"""How the candidate and its reference do in each scene."""

SETTINGS: Final = (SearchFigure(IMPORTANCE, importance_plate),)
"""Which of the searched settings mattered."""


def search_plates(search: RecordedSearch, figures: Sequence[SearchFigure]) -> list[Builder]:
    """Titles and makers of figures of a search; a maker raises `Unavailable` where its plate cannot be made.

    Args:
        search: Any.
        figures: `LOSSES`, `THINGS`, `SCENES` or `SETTINGS`.
    """
    wanted = [figure for figure in figures if search.runs or not figure.of_confirmations]
    return [(figure.title, partial(figure.make, search)) for figure in wanted]


def trial_plates(trial: RecordedTrial, classes: Sequence[LabelClass]) -> list[Builder]:
    """Titles and makers of a trial's figures.

    Args:
        trial: Any.
        classes: Of the image set, in label order.
    """
    name = trial.trial_id
    return [
        (f"Training curves of {name}", partial(training_curves_plate, trial)),
        (f"IoU by class and epoch of {name}", partial(class_iou_plate, trial, classes)),
        (f"Confusion matrix of {name} on dev", partial(confusion_plate, trial, classes)),
        (f"Misclassified pixels of {name} on dev", partial(misclassified_plate, trial, classes)),
    ]


def data_plates(
    image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment, dev_apart: bool = False
) -> list[Builder]:
    """Titles and makers of an image set's figures.

    Args:
        image_set: The set.
        statistics: Of its masks.
        splits: Of its samples.
        dev_apart: Show dev by itself in the class distribution; else it counts to train.
    """
    return [
        (DISTRIBUTION, partial(class_distribution_plate, image_set, statistics, splits, dev_apart)),
        (SCALE, partial(class_scale_plate, image_set, statistics, splits, dev_apart)),
        (AVERAGE, partial(average_image_plate, image_set, statistics)),
        (POSITIONS, partial(class_maps_plate, image_set, statistics)),
        (EXAMPLES, partial(example_images_plate, image_set, statistics, splits)),
    ]
