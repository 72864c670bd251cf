"""The built-in losses: what each is made of, which parameters it has, and how texts name them.

A new loss is a class in `trainable/losses/` and an entry of `LOSSES`, which also has the parameters of that loss alone.
A name means one parameter: losses that have the same one share the `Parameter` object.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from trainable.config.user_class import check_name, is_reference


@dataclass(frozen=True)
class Parameter:
    """A parameter of a loss.

    Attributes:
        kind: What its values are, for pydantic.
        meaning: In a sentence.
        default: Where the config does not say; None: a loss that has the parameter cannot do without.
        argument: What the loss's class calls it, where that is another name.
        short: How a table writes it, `a={}`.
        words: How a sentence writes it; one that begins with a space is joined to the parameter before it.
        unsaid: The value that leaves it out of both: there the loss is the plain one.
    """

    kind: Any
    meaning: str
    default: float | str | None = None
    argument: str | None = None
    short: str = "{}"
    words: str = "{}"
    unsaid: float | str | None = None


@dataclass(frozen=True)
class Loss:
    """A built-in loss.

    Attributes:
        term: Which term of a compound it can be, or None where it stands alone.
        implementation: Its class, `package.module:Class`.
        title: As a sentence has it.
        parameters: In the order in which texts name them.
        short: Its name as the first term of a compound in a table.
        note: What a reader of its parameters must know, in a sentence.
    """

    term: Literal["pixel", "region"] | None
    implementation: str
    title: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    short: str = ""
    note: str = ""


CLASS_WEIGHT_POWER: Final = "class_weight_power"
"""The one parameter that the loss is not given as it is: the weights of the classes are made of it."""

_WEIGHTED: Final = {
    CLASS_WEIGHT_POWER: Parameter(
        Annotated[float, Field(ge=0, le=1)],
        "p in class weights of (1 / frequency)^p, in 0..1; 0: none.",
        default=0.0,
        short="cw={}",
        words="class weights to the power {}",
        unsaid=0.0,
    )
}

_PIXEL: Final = "trainable.losses.pixel"
_REGION: Final = "trainable.losses.region"

LOSSES: Final[dict[str, Loss]] = {
    "cross_entropy": Loss("pixel", f"{_PIXEL}:CrossEntropyLoss", "cross entropy", _WEIGHTED, short="ce"),
    "focal": Loss(
        "pixel",
        f"{_PIXEL}:FocalLoss",
        "focal",
        {
            "focal_gamma": Parameter(
                Annotated[float, Field(ge=0)],
                "Exponent of the focal loss, >= 0.",
                argument="gamma",
                short="g={}",
                words="gamma {}",
            )
        }
        | _WEIGHTED,
    ),
    "dice": Loss("region", f"{_REGION}:DiceLoss", "Dice"),
    "iou": Loss("region", f"{_REGION}:IoULoss", "IoU"),
    "tversky": Loss(
        "region",
        f"{_REGION}:TverskyLoss",
        "Tversky",
        {
            "alpha": Parameter(Annotated[float, Field(ge=0)], "Weight of false negatives, >= 0.", short="a={}"),
            "beta": Parameter(Annotated[float, Field(ge=0)], "Weight of false positives, >= 0.", short="b={}"),
            "gamma": Parameter(
                Annotated[float, Field(gt=0)], "Exponent of the Tversky loss, > 0.", default=1.0, short="g={}"
            ),
            "gamma_on": Parameter(
                Literal["class", "mean"],
                "Whether `gamma` is the exponent of each class's loss or of their mean.",
                default="class",
                short="on {}",
                words=" on the {}",
                unsaid="class",
            ),
        },
        note="Tversky's parameters are alpha (of false negatives), beta (of false positives), gamma.",
    ),
}
"""Those that stand alone, in the order in which messages and figures name them."""

COMPOUND: Final = "compound"
"""The loss of two terms: (1 - w) * pixel + w * region."""


def terms(kind: Literal["pixel", "region"]) -> tuple[str, ...]:
    """The losses that can be a term of a compound."""
    return tuple(name for name, loss in LOSSES.items() if loss.term == kind)


_COMPOUND: Final = {
    "pixel": Parameter(Literal[terms("pixel")], "The pixel term of a compound loss.", default="cross_entropy"),
    "region": Parameter(Literal[terms("region")], "The region term of a compound loss.", default="dice"),
    "region_weight": Parameter(
        Annotated[float, Field(ge=0, le=1)], "w in (1 - w) * pixel + w * region, in 0..1.", default=0.5
    ),
}

_FIRST: Final = (*_COMPOUND, CLASS_WEIGHT_POWER, "alpha", "beta", "gamma", "gamma_on", "focal_gamma")
"""The sampler asks in this order: another one would change what a seed suggests. New parameters come after these."""

_ALL: Final = _COMPOUND | {key: value for loss in LOSSES.values() for key, value in loss.parameters.items()}

PARAMETERS: Final = {name: _ALL[name] for name in (*_FIRST, *(name for name in _ALL if name not in _FIRST))}
"""Every parameter of a loss, by its name in a config."""

LOSS_NAMES: Final = (*LOSSES, COMPOUND)
"""The built-in losses."""

LOSS_NAME_RULE: Final = f"must be one of {', '.join(LOSS_NAMES)}, or your own as package.module:Class"


LossName = Annotated[str, AfterValidator(lambda name: check_name(name, LOSS_NAMES, LOSS_NAME_RULE))]
"""A built-in loss, or a class of the user's own."""

LOSS_DEFAULTS: Final[dict[str, float | str]] = {
    name: parameter.default for name, parameter in PARAMETERS.items() if parameter.default is not None
}
"""What a loss takes where its config does not say, of the parameters that it has."""

REQUIRED_PARAMETERS: Final = tuple(name for name in PARAMETERS if name not in LOSS_DEFAULTS)
"""What a loss that has them cannot do without."""


def loss_parameters(loss: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that exist in a loss config.

    Args:
        loss: Its `name`, and for a compound its `pixel` and `region`; what is missing has its default. An unknown name
            has no parameters.
    """
    name = loss.get("name") or "cross_entropy"
    if is_reference(name):
        return ("options",)
    if name != COMPOUND:
        return _of(name)
    chosen = [str(loss.get(term) or LOSS_DEFAULTS[term]) for term in ("pixel", "region")]
    return (*_COMPOUND, *(parameter for term in chosen for parameter in _of(term)))


def _of(name: str) -> tuple[str, ...]:
    return tuple(LOSSES[name].parameters) if name in LOSSES else ()


def owners(parameter: str) -> str:
    """The losses that have a parameter, in words: `tversky, or compound with tversky`."""
    if parameter == "options":
        return "a loss of your own (package.module:Class)"
    having = [name for name, loss in LOSSES.items() if parameter in loss.parameters]
    if not having:
        return COMPOUND
    alone = " and ".join(having)
    of_compounds = [name for name in having if LOSSES[name].term is not None]
    if not of_compounds:
        return alone
    return f"{alone}, or compound with {'one of them' if len(of_compounds) > 1 else of_compounds[0]}"
