"""A configuration as a paper would name it: `Tversky (.62, .31, 1.1) on DeepLabV3+`.

The terminal's shorter form, which fits a column, is `trainable.record.trial_words`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from analysis.words.number_words import trimmed
from trainable.config.architectures import ARCHITECTURES
from trainable.config.loss_registry import COMPOUND, LOSS_DEFAULTS, LOSSES
from trainable.config.user_class import is_reference
from trainable.record.trial_words import loss_name

_ARCHITECTURE: Final = "model.architecture"

_NOT_OF_THE_CONFIGURATION: Final = ("dataset", "runtime", "evaluation", "loss", "max_epochs", "seed", "objective")
"""Parts of a config that are the loss itself, or the same for all trials of a search and for no other reason."""


def loss_title(name: str) -> str:
    """A loss by its name alone: `cross entropy`; a class of the user's own without its module."""
    return name.rpartition(":")[2] if is_reference(name) else LOSSES[name].title if name in LOSSES else name


def architecture_title(config: Mapping[str, Any]) -> str:
    """The network's architecture: `DeepLabV3+`; another as the config names it, without a module."""
    name = str(config.get("model", {}).get("architecture", "?"))
    if is_reference(name):
        return name.rpartition(":")[2]
    return (ARCHITECTURES[name].title if name in ARCHITECTURES else "") or name


def loss_words(config: Mapping[str, Any]) -> str:
    """The loss with its parameters: `Tversky (.62, .31, 1.1)`, `focal (gamma 2)`, `cross entropy + Dice (.5 of Dice)`.

    Tversky's are alpha, beta, gamma.

    Args:
        config: The resolved config of the trial.
    """
    given = config.get("loss", {})
    loss: dict[str, Any] = LOSS_DEFAULTS | {key: value for key, value in given.items() if value is not None}
    name = loss_name(config)
    if is_reference(name):
        options = [f"{option} {_plain(value)}" for option, value in loss.get("options", {}).items()]
        return _with(loss_title(name), options)
    if name != COMPOUND:
        return _with(loss_title(name), _parameters(name, loss))
    terms = [_with(loss_title(term), _parameters(term, loss)) for term in (loss["pixel"], loss["region"])]
    return f"{terms[0]} + {terms[1]} ({trimmed(loss['region_weight'])} of {loss_title(loss['region'])})"


def parameter_notes(configs: Iterable[Mapping[str, Any]]) -> list[str]:
    """What a reader of these configurations' losses must know of their parameters, a sentence each.

    Args:
        configs: Resolved configs of trials.
    """
    losses: list[str] = []
    for config in configs:
        loss = config.get("loss", {})
        losses += (
            [str(loss.get(key)) for key in ("pixel", "region")]
            if loss_name(config) == COMPOUND
            else [loss_name(config)]
        )
    return list(dict.fromkeys(LOSSES[name].note for name in losses if name in LOSSES and LOSSES[name].note))


def configuration_words(config: Mapping[str, Any]) -> str:
    """Loss and architecture: `Tversky (.62, .31, 1.1) on DeepLabV3+`.

    Args:
        config: The resolved config of the trial.
    """
    return f"{loss_words(config)} on {architecture_title(config)}"


def other_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The settings beside the loss in which two trials' configs differ, by dotted key, sorted.

    A setting that only one of two architectures has goes without saying: the architecture is named.

    Args:
        one: A resolved config.
        other: Another.
    """
    flat_one, flat_other = _flat(one), _flat(other)
    keys = sorted(flat_one.keys() | flat_other.keys())
    kept = [key for key in keys if key.partition(".")[0] not in _NOT_OF_THE_CONFIGURATION]
    differing = [key for key in kept if flat_one.get(key) != flat_other.get(key)]
    if _ARCHITECTURE not in differing:
        return differing
    return [
        key for key in differing if not key.startswith("model.") or None not in (flat_one.get(key), flat_other.get(key))
    ]


def _parameters(name: str, loss: Mapping[str, Any]) -> list[str]:
    """Those of a built-in loss or term; what leaves it the plain loss is not said."""
    words: list[str] = []
    parameters = LOSSES[name].parameters if name in LOSSES else {}
    for key, parameter in parameters.items():
        value = loss.get(key)
        if parameter.unsaid is not None and value == parameter.unsaid:
            continue
        said = parameter.words.format(value if isinstance(value, str) else _number(value))
        if said.startswith(" ") and words:
            words[-1] += said
        else:
            words.append(said)
    return words


def _with(title: str, parameters: list[str]) -> str:
    return f"{title} ({', '.join(parameters)})" if parameters else title


def _number(value: float | None) -> str:
    return "?" if value is None else trimmed(value)


def _plain(value: object) -> str:
    """An option of a class of the user's own, whose scale nobody knows."""
    return str(value).lower() if isinstance(value, bool) else f"{value:.3g}" if isinstance(value, float) else str(value)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in config.items():
        values |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return values
