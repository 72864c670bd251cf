"""Every metric: what computes it, which way is better, and its titles.

A new metric is a function of sums (see `trainable/measure/metric_functions.py`) and an entry here. It is then recorded
on dev and val, may be an objective, has its titles, and is computed over weighted scenes.
"""

from dataclasses import KW_ONLY, dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class MetricEntry:
    """What is known of a metric beside the function that computes it.

    Attributes:
        implementation: `package.module:function`, which maps `ClassSums` to values.
        over: What the function is given, and gives: `classes`: the sums of all classes, a value a draw. `things`: those
            of the thing classes alone, likewise. `class`: the sums of all classes, a value a draw and class; the metric
            is recorded of each class, as `recall/person`.
        title: In sentences; of a class without the class's name.
        column: Over a leaderboard's column; of a class after its name.
        narrow_column: Over a column of a confirmation on the terminal; None: the metric's name.
        class_title: In sentences, with the class; its name takes the place of `{name}`, its objects that of
            `{objects}`. None: the name and the title.
        lower_is_better: Whether it is minimised.
        opposite: A metric of the same kind that grows where this one falls, for the remedy of an error; None: none.
        of_objects: Whether it is made of objects, which only thing classes have; otherwise of pixels.
        is_share: Whether 1 is the most that it can be; otherwise it has no end.
        lies_in: A scene's share of the metric is its share of these: true pixels of each class, of all classes
            together, or of the class of the lowest IoU; true objects of each class; images.
    """

    implementation: str
    over: Literal["classes", "things", "class"]
    title: str
    column: str
    _: KW_ONLY
    narrow_column: str | None = None
    class_title: str | None = None
    lower_is_better: bool = False
    opposite: str | None = None
    of_objects: bool = False
    is_share: bool = True
    lies_in: Literal["pixels", "pixels of all", "pixels of the worst", "objects", "images"] = "pixels"


_OURS: Final = "trainable.measure.metric_functions"

# fmt: off
METRICS: Final[dict[str, MetricEntry]] = {
    "miou": MetricEntry(f"{_OURS}:mean_iou", "classes", "mIoU", "mIoU", narrow_column="mIoU"),
    "thing_miou": MetricEntry(f"{_OURS}:mean_iou", "things", "thing mIoU", "things", narrow_column="things"),
    "worst_class_iou": MetricEntry(
        f"{_OURS}:worst_iou", "classes", "worst class IoU", "worst", lies_in="pixels of the worst"
    ),
    "pixel_accuracy": MetricEntry(
        f"{_OURS}:pixel_accuracy", "classes", "pixel accuracy", "pixels right", lies_in="pixels of all"
    ),
    "thing_recall": MetricEntry(f"{_OURS}:mean_recall", "things", "thing recall", "things recall"),
    "thing_precision": MetricEntry(f"{_OURS}:mean_precision", "things", "thing precision", "things prec."),
    "thing_miss_rate": MetricEntry(
        f"{_OURS}:mean_miss_rate", "things", "thing miss rate", "missed", narrow_column="missed",
        lower_is_better=True, opposite="thing_recall", of_objects=True, lies_in="objects",
    ),
    "thing_false_alarms_per_image": MetricEntry(
        f"{_OURS}:all_false_alarms_per_image", "things", "false alarms an image", "false alarms",
        narrow_column="alarms",
        lower_is_better=True, opposite="thing_precision", of_objects=True, is_share=False, lies_in="images",
    ),
    "iou": MetricEntry(f"{_OURS}:iou", "class", "IoU", "IoU"),
    "recall": MetricEntry(f"{_OURS}:recall", "class", "recall", "recall"),
    "precision": MetricEntry(f"{_OURS}:precision", "class", "precision", "prec."),
    "miss_rate": MetricEntry(
        f"{_OURS}:miss_rate", "class", "miss rate", "missed", class_title="missed {objects}",
        lower_is_better=True, opposite="recall", of_objects=True, lies_in="objects",
    ),
    "false_alarms_per_image": MetricEntry(
        f"{_OURS}:false_alarms_per_image", "class", "false alarms per image", "false alarms",
        class_title="false alarms",
        lower_is_better=True, opposite="precision", of_objects=True, is_share=False, lies_in="images",
    ),
}
# fmt: on
"""By the name that it is recorded under; that of a class without the class. The order is that of messages."""


def metric_entry(name: str) -> MetricEntry | None:
    """The entry of a metric, with or without its class: `miou`, `recall`, `recall/person`; None where there is none."""
    return METRICS.get(name.partition("/")[0])
