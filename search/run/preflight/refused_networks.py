"""Networks that cannot be used, as problems for the user: one a reason, and how the space goes on without them."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from search.config.config_yaml import dump_flow
from search.space.exclusions import fewest_exclusions
from search.space.space import Space, Value, nested
from trainable.config.sections import ModelConfig
from trainable.config.user_class import is_reference
from trainable.errors import InputError

NAMES: Final = "<networks>"
"""In a rule, where the networks are named that break it."""


@dataclass(frozen=True)
class Refused:
    """A network that cannot be used, and why."""

    point: dict[str, Value]
    error: InputError

    @property
    def reason(self) -> tuple[str, str, str]:
        """What networks share that one problem is about."""
        return self.error.rule, str(self.error.value), self.error.remedy


def config_of(point: dict[str, Value]) -> ModelConfig:
    """The network at a point of the space."""
    return ModelConfig.model_validate(nested(point).get("model", {}))


def problems_of(refused: Sequence[Refused], passing: Sequence[dict[str, Value]], space: Space) -> list[InputError]:
    """One problem a reason, with the networks that it is about; the last says what leaves all of them out.

    Args:
        refused: Networks that cannot be used.
        passing: The others.
        space: That has them.
    """
    reasons = list(dict.fromkeys(each.reason for each in refused))
    problems = []
    for reason in reasons:
        rule, value, remedy = reason
        names = _names([each.point for each in refused if each.reason == reason])
        more = _leave_out([each.point for each in refused], passing, space) if reason == reasons[-1] else ""
        problems.append(InputError(rule.replace(NAMES, names), value, remedy + more))
    return problems


def _names(points: Sequence[dict[str, Value]]) -> str:
    by_encoder: dict[str, list[str]] = {}
    for model in map(config_of, points):
        known = by_encoder.setdefault("" if is_reference(model.architecture) else f" with {model.encoder}", [])
        known += [model.architecture] if model.architecture not in known else []
    return " and ".join(f"{', '.join(names)}{encoder}" for encoder, names in by_encoder.items())


def _leave_out(refused: Sequence[dict[str, Value]], passing: Sequence[dict[str, Value]], space: Space) -> str:
    """The end of a remedy: what leaves out the refused networks and no other; empty where nothing would remain."""
    entries = fewest_exclusions(refused, passing)
    if not entries:
        return ""
    flow = dump_flow(
        [{key.removeprefix("model."): value for key, value in e.items()} for e in (*space.excluded, *entries)]
    )
    which = "it" if len(refused) == 1 else "all that cannot be used"
    override = shlex.quote(f"space.model.exclude={flow}")
    return f". To leave {which} out: --set {override} (or `exclude` in space.model of the file)"
