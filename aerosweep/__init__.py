"""The command line, and the public names of the packages `search`, `trainable` and `analysis`, which do the work."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from analysis.recorded.mlflow_reader import read_search as read_search
    from trainable.batches.normalise import normalise as normalise
    from trainable.losses import AdditiveLoss as AdditiveLoss
    from trainable.losses import CompoundLoss as CompoundLoss
    from trainable.losses import CrossEntropyLoss as CrossEntropyLoss
    from trainable.losses import DiceLoss as DiceLoss
    from trainable.losses import FocalLoss as FocalLoss
    from trainable.losses import IoULoss as IoULoss
    from trainable.losses import TverskyLoss as TverskyLoss
    from trainable.network.trained_model import load_trained_model as load_trained_model

_LOSSES: Final = (
    "AdditiveLoss",
    "CompoundLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "IoULoss",
    "TverskyLoss",
)
_HOMES: Final = {
    "load_trained_model": "trainable.network.trained_model",
    "normalise": "trainable.batches.normalise",
    "read_search": "analysis.recorded.mlflow_reader",
    **dict.fromkeys(_LOSSES, "trainable.losses"),
}
"""Where each public name is defined; it is imported when it is asked for: the command line starts without torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
