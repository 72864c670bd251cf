"""A trial in words, as the leaderboard and the progress view put it."""

from collections.abc import Mapping
from typing import Any, Final

from trainable.trial_record import TrialSnapshot

_LONGEST_REASON: Final = 160


def loss_text(config: Mapping[str, Any]) -> str:
    """A trial's loss with its parameters: `tversky a=.70 b=.30 g=1.00`.

    Args:
        config: The resolved config of the trial.
    """
    loss = config.get("loss", {})
    name = str(loss.get("name", "cross_entropy"))
    match name:
        case "tversky":
            # The loss's own default, where the config leaves gamma out.
            gamma = 1.0 if loss.get("gamma") is None else loss["gamma"]
            mean = " on mean" if loss.get("gamma_on") == "mean" else ""
            return f"tversky a={_short(loss.get('alpha'))} b={_short(loss.get('beta'))} g={_short(gamma)}{mean}"
        case "focal":
            return f"focal g={_short(loss.get('focal_gamma'))}"
    return name


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".removeprefix("0")


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
