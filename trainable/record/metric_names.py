"""The names under which metrics are recorded, in our files and in MLflow alike."""

import re
from typing import Final

TRAIN_LOSS: Final = "train_loss"
DEV_LOSS: Final = "dev_loss"
MIOU: Final = "miou"
BEST_MIOU: Final = "best_miou"
OBJECTIVE: Final = "objective"
THING_MIOU: Final = "thing_miou"
WORST_CLASS_IOU: Final = "worst_class_iou"
THING_MISS_RATE: Final = "thing_miss_rate"
THING_FALSE_ALARMS: Final = "thing_false_alarms_per_image"
ADJUSTED_TAU: Final = "adjusted/tau"
"""Strength of the logit adjustment that the metrics named `adjusted/...` belong to."""
LEARNING_RATE: Final = "learning_rate"
IMAGES_PER_SECOND: Final = "images_per_second"
DATA_WAIT: Final = "data_wait"
"""Share of an epoch's training time, 0..1, in which the loop waited for a batch that was not drawn yet."""
PEAK_MEMORY_MB: Final = "peak_memory_mb"
MICRO_BATCH_SIZE: Final = "micro_batch_size"
"""Images computed at once: fewer than the batch where it did not fit into memory."""
EVALUATION_TILE: Final = "evaluation_tile"
"""Side in pixels of the tiles that dev was measured in, where larger ones did not fit into memory."""
VAL_PREFIX: Final = "val/"
"""Begins the names of metrics on val."""
BEST_OBJECTIVE: Final = "best_objective"
"""Metric of a search's parent run."""


def class_metric(kind: str, class_name: str) -> str:
    """Name of the metric that holds a value of a class, `recall/person`."""
    return f"{kind}/{metric_safe(class_name)}"


def iou_metric(class_name: str) -> str:
    """Name of the metric that holds the IoU of a class."""
    return class_metric("iou", class_name)


def adjusted_metric(name: str) -> str:
    """Name of a metric after logit adjustment."""
    return f"adjusted/{name}"


def metric_safe(class_name: str) -> str:
    """The class name in the characters that MLflow allows in a metric's name."""
    return re.sub(r"[^\w\-. ]", "_", class_name)
