"""How a trial ended, in a line."""

from typing import Final

from trainable.record.record_types import TrialSnapshot
from trainable.record.trial_words import model_and_loss

_LONGEST_REASON: Final = 160


def ended_line(trial: TrialSnapshot, max_epochs: int) -> str:
    """How a trial ended: `t0007 pruned at epoch 2/6, objective 0.213 (unet, dice)`.

    Args:
        trial: With an end marker.
        max_epochs: Epochs of a trial that is not stopped early.
    """
    begin = f"{trial.spec.trial_id} {trial.state} at epoch {len(trial.epochs)}/{max_epochs}"
    if trial.state in ("failed", "diverged"):
        return f"{begin} ({model_and_loss(trial.spec.config)}): {_reason(trial)}"
    objective = "" if trial.objective is None else f", objective {trial.objective:.3f}"
    return f"{begin}{objective} ({model_and_loss(trial.spec.config)})"


def _reason(trial: TrialSnapshot) -> str:
    """The reason in one line; of a traceback the last one, which names the error."""
    lines = [line.strip() for line in (trial.end.detail if trial.end else "").splitlines() if line.strip()]
    if not lines:
        return "no reason was recorded"
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 3]}..."
