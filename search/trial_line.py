"""A trial in words, as the leaderboard and the progress view put it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from trainable.loss_parameters import LOSS_DEFAULTS
from trainable.trial_record import TrialSnapshot
from trainable.user_class import is_reference

_LONGEST_REASON: Final = 160
_PIXEL_LOSSES: Final = ("cross_entropy", "focal")
_SHORT_NAMES: Final = {"cross_entropy": "ce"}
"""Within a compound, where both terms are to fit into one column."""


def loss_text(config: Mapping[str, Any]) -> str:
    """A trial's loss with its parameters: `tversky a=.70 b=.30 g=1.00`, `focal(g=2.00)+dice w=.50`, `Poly1 epsilon=.5`.

    Args:
        config: The resolved config of the trial.
    """
    given = config.get("loss", {})
    # The loss's own defaults, where the config leaves a parameter out.
    loss: dict[str, Any] = LOSS_DEFAULTS | {key: value for key, value in given.items() if value is not None}
    name = str(loss.get("name", "cross_entropy"))
    if is_reference(name):
        options = [f"{option}={_plain(value)}" for option, value in loss.get("options", {}).items()]
        return " ".join([name.rpartition(":")[2], *options])
    if name != "compound":
        return " ".join([name, *_parameters(name, loss)])
    pixel, region = loss["pixel"], loss["region"]
    of_pixel = " ".join(_parameters(pixel, loss))
    first = _SHORT_NAMES.get(pixel, pixel) + (f"({of_pixel})" if of_pixel else "")
    return " ".join([f"{first}+{region}", *_parameters(region, loss), f"w={_short(loss['region_weight'])}"])


def _parameters(name: str, loss: Mapping[str, Any]) -> list[str]:
    """The parameters of a built-in loss or term; those at which it is the plain loss are left out."""
    if name == "tversky":
        mean = ["on mean"] if loss["gamma_on"] == "mean" else []
        return [f"a={_short(loss.get('alpha'))}", f"b={_short(loss.get('beta'))}", f"g={_short(loss['gamma'])}", *mean]
    if name in _PIXEL_LOSSES:
        exponent = [f"g={_short(loss.get('focal_gamma'))}"] if name == "focal" else []
        return exponent + ([f"cw={_short(loss['class_weight_power'])}"] if loss["class_weight_power"] else [])
    return []


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".removeprefix("0")


def _plain(value: object) -> str:
    """An option of a class of the user's own, whose scale nobody knows: `.5`, `1.2e-05`, `3`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    return re.sub(r"^(-?)0\.", r"\1.", f"{value:.3g}") if isinstance(value, float) else str(value)


def model_and_loss(trial: TrialSnapshot) -> str:
    """What a trial tries: `unet, dice`."""
    return f"{trial.card.config.get('model', {}).get('architecture', '?')}, {loss_text(trial.card.config)}"


def ended_line(trial: TrialSnapshot, max_epochs: int) -> str:
    """How a trial ended: `t0007 pruned at epoch 2/6, objective 0.213 (unet, dice)`.

    Args:
        trial: With an end marker.
        max_epochs: Epochs of a trial that is not stopped early.
    """
    begin = f"{trial.card.trial_id} {trial.state} at epoch {len(trial.epochs)}/{max_epochs}"
    if trial.state in ("failed", "diverged"):
        return f"{begin} ({model_and_loss(trial)}): {_reason(trial)}"
    objective = "" if trial.objective is None else f", objective {trial.objective:.3f}"
    return f"{begin}{objective} ({model_and_loss(trial)})"


def _reason(trial: TrialSnapshot) -> str:
    """The reason in one line; of a traceback the last one, which names the error."""
    lines = [line.strip() for line in (trial.end.detail if trial.end else "").splitlines() if line.strip()]
    if not lines:
        return "no reason was recorded"
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 3]}..."
