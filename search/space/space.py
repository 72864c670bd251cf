"""The search space: define-by-run and conditional, so that a parameter exists only where it means something."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from trainable.config.architectures import model_parameters
from trainable.config.loss_config import LossConfig
from trainable.config.loss_registry import loss_parameters
from trainable.config.section import Section
from trainable.config.sections import DataConfig, ModelConfig, OptimizerConfig
from trainable.config.user_class import accepted, is_reference

if TYPE_CHECKING:  # a config is read without Optuna, which takes long to import
    from optuna.trial import BaseTrial

SECTIONS: Final[dict[str, type[Section]]] = {
    "model": ModelConfig,
    "loss": LossConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
}
"""The searchable sections of a trial's config."""

OPTIONS: Final = "options."
"""Begins the names of what a class of the user's own takes: `loss.options.epsilon`."""

_OWNERS: Final = {"loss": "loss.name", "model": "model.architecture"}

LOSS_SHAPE: Final = ("name", "pixel", "region")
"""What decides which other parameters of the loss exist."""

SHAPE: Final = ("model.architecture", *(f"loss.{term}" for term in LOSS_SHAPE))
"""What decides which other parameters exist."""

_DEFAULT_ARCHITECTURE: Final = ModelConfig().architecture

_STATED: Final = ("model.encoder", "model.encoder_weights")
"""Where they are fixed they are stated for every network: the record would show a default in their place."""

Value = str | int | float | bool


@dataclass(frozen=True)
class Fixed:
    """A value that is not searched."""

    value: Value


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """Any value from `low` to `high`, both included; `log` searches orders of magnitude evenly."""

    low: float
    high: float
    log: bool
    integer: bool

    @property
    def every_value(self) -> range:
        """All values of a range of whole numbers."""
        return range(int(self.low), int(self.high) + 1)


Domain = Fixed | Choice | Range


@dataclass(frozen=True)
class Space:
    """Domains by flat key (`loss.alpha`), in the order in which they are asked for.

    Attributes:
        domains: By flat key.
        excluded: Combinations of values, by flat key, that no point has.
    """

    domains: Mapping[str, Domain]
    excluded: tuple[Mapping[str, Value], ...] = ()

    def excludes(self, values: Mapping[str, Value]) -> bool:
        """Whether a point is left out of the space."""
        return any(all(values.get(key) == value for key, value in entry.items()) for entry in self.excluded)

    def searched(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The part of `values` that is not fixed."""
        return {key: value for key, value in values.items() if not isinstance(self.domains[key], Fixed)}

    def has(self, key: str, values: Mapping[str, Value]) -> bool:
        """Whether a point has a value of `key`, where `values` have been chosen for the keys before it."""
        return exists(key, values) or (key in _STATED and isinstance(self.domains[key], Fixed))


def suggest(trial: "BaseTrial", space: Space) -> dict[str, Value]:
    """Ask an Optuna trial for a point of the space.

    Returns:
        All values that exist at this point, by flat key, the fixed ones included.
    """
    values: dict[str, Value] = {}
    for key, domain in space.domains.items():
        if space.has(key, values):
            values[key] = _ask(trial, key, domain)
    return values


def exists(key: str, values: Mapping[str, Value]) -> bool:
    """Whether a parameter means something where `values` have been chosen.

    Alpha exists only under tversky, an output stride only under networks that have one, and so on.
    """
    section, _, name = key.partition(".")
    if name.startswith(OPTIONS):
        owner = str(values.get(_OWNERS[section], ""))
        return is_reference(owner) and bool(accepted(owner, (name.removeprefix(OPTIONS),)))
    if section == "model":
        return name in model_parameters(str(values.get("model.architecture", _DEFAULT_ARCHITECTURE)))
    if section != "loss" or name == "name":
        return True
    chosen = {term: values.get(f"loss.{term}") for term in LOSS_SHAPE}
    return name in loss_parameters(chosen)


def flat(sections: Mapping[str, Any]) -> dict[str, Value]:
    """Sections as flat keys: {"loss": {"alpha": 0.7}} as {"loss.alpha": 0.7}; the opposite of `nested`."""
    values: dict[str, Value] = {}
    for key, value in sections.items():
        if isinstance(value, Mapping):
            values |= {f"{key}.{name}": inner for name, inner in flat(value).items()}
        else:
            values[key] = value
    return values


def nested(values: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
    """Flat keys as sections: {"loss.alpha": 0.7} as {"loss": {"alpha": 0.7}}."""
    sections: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        level: dict[str, Any] = sections
        for part in path:
            level = level.setdefault(part, {})
        level[name] = value
    return sections


def _ask(trial: "BaseTrial", key: str, domain: Domain) -> Value:
    match domain:
        case Fixed(value):
            return value
        case Choice(values):
            return cast(Value, trial.suggest_categorical(key, values))
        case Range(low, high, log, integer):
            if integer:
                return trial.suggest_int(key, int(low), int(high), log=log)
            return trial.suggest_float(key, low, high, log=log)


def lowest(domain: Domain) -> float:
    """The least number of a numeric domain."""
    return domain.low if isinstance(domain, Range) else min(float(value) for value in values_of(domain))


def highest(domain: Domain) -> float:
    """The greatest number of a numeric domain."""
    return domain.high if isinstance(domain, Range) else max(float(value) for value in values_of(domain))


def values_of(domain: Domain) -> tuple[Value, ...]:
    """The values that a domain names; of a range its two ends."""
    match domain:
        case Fixed(value):
            return (value,)
        case Choice(values):
            return values
        case Range(low, high):
            return (low, high)
