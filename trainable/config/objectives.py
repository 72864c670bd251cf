"""What a search may optimise: names of recorded metrics, and which of them are better when lower."""

from typing import Annotated, Final

from pydantic import AfterValidator

PLAIN_OBJECTIVES: Final = (
    "miou",
    "thing_miou",
    "worst_class_iou",
    "pixel_accuracy",
    "thing_recall",
    "thing_precision",
    "thing_miss_rate",
    "thing_false_alarms_per_image",
)
"""Objectives over all classes, or over all thing classes."""

CLASS_OBJECTIVES: Final = ("iou", "recall", "precision", "miss_rate", "false_alarms_per_image")
"""Objectives of one class, `recall/person`."""

_MINIMISED: Final = ("miss_rate", "false_alarms_per_image")


def _check_name(name: str) -> str:
    kind, slash, class_name = name.partition("/")
    if name in PLAIN_OBJECTIVES or (slash and class_name and kind in CLASS_OBJECTIVES):
        return name
    raise ValueError(
        f"must be one of {', '.join(PLAIN_OBJECTIVES)}, or {', '.join(CLASS_OBJECTIVES)} of a class (recall/person)"
    )


Objective = Annotated[str, AfterValidator(_check_name)]
"""The name of an objective; whether its class exists is known when the images are read."""


def is_minimised(name: str) -> bool:
    """Whether lower values of an objective are better."""
    return name.partition("/")[0].removeprefix("thing_") in _MINIMISED
