"""What a search may optimise: names of recorded metrics, and which of them are better when lower."""

from typing import Annotated

from pydantic import AfterValidator

from trainable.config.metric_registry import METRICS, metric_entry


def plain_objectives() -> tuple[str, ...]:
    """Objectives over all classes, or over all thing classes."""
    return tuple(name for name, entry in METRICS.items() if entry.over != "class")


def class_objectives() -> tuple[str, ...]:
    """Objectives of one class, `recall/person`."""
    return tuple(name for name, entry in METRICS.items() if entry.over == "class")


def _check_name(name: str) -> str:
    kind, slash, class_name = name.partition("/")
    if name in plain_objectives() or (slash and class_name and kind in class_objectives()):
        return name
    raise ValueError(
        f"must be one of {', '.join(plain_objectives())}, or {', '.join(class_objectives())} of a class (recall/person)"
    )


Objective = Annotated[str, AfterValidator(_check_name)]
"""The name of an objective; whether its class exists is known when the images are read."""


def is_minimised(name: str) -> bool:
    """Whether lower values of an objective are better."""
    entry = metric_entry(name)
    return entry is not None and entry.lower_is_better
