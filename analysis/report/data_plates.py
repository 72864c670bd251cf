"""The plates of a data set: how frequent its classes are, where things lie, and what its images look like."""

from collections.abc import Callable

from analysis.evidence.mask_statistics import MaskStatistics
from analysis.subjects.class_distribution.plate import (
    DISTRIBUTION,
    SCALE,
    class_distribution_plate,
    class_scale_plate,
)
from analysis.subjects.example_images.plate import EXAMPLES, example_images_plate
from analysis.subjects.mean_image.plate import AVERAGE, POSITIONS, average_image_plate, class_maps_plate
from analysis.subjects.plate import Plate
from trainable.data.image_set import ImageSet
from trainable.data.scene_split import SplitAssignment


def data_plates(
    image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment, dev_apart: bool = False
) -> list[tuple[str, Callable[[], Plate]]]:
    """The plates of a data set, each with its title; building one may raise `Unavailable`.

    Args:
        image_set: The set.
        statistics: Of its masks.
        splits: Of its samples.
        dev_apart: Show dev by itself in the class distribution; else it counts to train.
    """
    return [
        (DISTRIBUTION, lambda: class_distribution_plate(image_set, statistics, splits, dev_apart)),
        (SCALE, lambda: class_scale_plate(image_set, statistics, splits, dev_apart)),
        (AVERAGE, lambda: average_image_plate(image_set, statistics)),
        (POSITIONS, lambda: class_maps_plate(image_set, statistics)),
        (EXAMPLES, lambda: example_images_plate(image_set, statistics, splits)),
    ]
