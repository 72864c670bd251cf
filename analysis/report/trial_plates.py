"""All plates of one trial."""

from collections.abc import Callable, Sequence
from functools import partial

from analysis.recorded.recorded_search import RecordedTrial
from analysis.subjects.confusion.plate import confusion_plate
from analysis.subjects.curves.plate import class_iou_plate, training_curves_plate
from analysis.subjects.misclassified.plate import misclassified_plate
from analysis.subjects.plate import Plate
from trainable.data.image_set import LabelClass


def trial_plates(trial: RecordedTrial, classes: Sequence[LabelClass]) -> list[tuple[str, Callable[[], Plate]]]:
    """Titles and makers of a trial's plates; a maker raises `Unavailable` where its plate cannot be made.

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
