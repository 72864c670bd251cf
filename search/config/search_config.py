"""The config of a search: what is in the user's YAML, checked as a whole before anything starts."""

import math
import uuid
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from search.space.baselines import baseline_points
from search.space.points import SpacePoints
from search.space.space import Fixed, Space, highest
from search.space.space_parsing import parse_space
from trainable.config.config_problem import flatten, raise_all, show
from trainable.config.metric_registry import METRICS
from trainable.config.objectives import Objective, is_minimised
from trainable.config.section import Section
from trainable.config.sections import EvaluationConfig, OptimizerConfig, RuntimeConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.files.folder_url import without_secret
from trainable.errors import InputError
from trainable.redaction import redacted

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

FIRST_RUNG: Final = 3
"""Trials are first compared after one in so many of their epochs: under one long cosine, an earlier score hardly ranks
them (its Spearman correlation with the final one was .29 after a fifth, .42 after a third)."""


class BudgetConfig(Section):
    """How much a search may cost.

    Attributes:
        trials: Trials in all, baselines and earlier launches included.
        max_epochs: Epochs of a trial that is not stopped early.
        hours: Wall-clock hours of one launch, or null for no limit.
    """

    trials: Annotated[int, Field(ge=1)] = 60
    max_epochs: Annotated[int, Field(ge=1)] = 30
    hours: Annotated[float, Field(gt=0)] | None = None


class SchedulerConfig(Section):
    """Asynchronous successive halving (ASHA, Li et al. 2020).

    Attributes:
        grace_epochs: The first rung: no trial is stopped before. Null is a third of `budget.max_epochs`, rounded up.
        reduction_factor: One in this many passes a rung; the rungs grow by the same factor.
    """

    grace_epochs: Annotated[int, Field(ge=1)] | None = None
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class ConfirmConfig(Section):
    """Which trials are worth keeping weights of and training again from fresh seeds, to be measured once on val.

    Attributes:
        top: The best of the leaderboard.
        seeds: Fresh seeds of each; from two on there is a spread to judge a difference by.
        best_of_each_loss: Also the best trial of each loss.
        best_baseline: Also the best of the baselines, what the others are compared with.
        after_search: Whether a search that has spent its budget goes on to confirm.
        relevant_gain: The smallest difference that would matter; a gain that is surely below is called not supported.
    """

    top: Annotated[int, Field(ge=1)] = 3
    seeds: Annotated[int, Field(ge=1, le=100)] = 3
    best_of_each_loss: bool = True
    best_baseline: bool = True
    after_search: bool = False
    relevant_gain: Annotated[float, Field(gt=0, le=1)] = 0.01


class ReportConfig(Section):
    """The page of figures; see `aerosweep report`.

    Attributes:
        write: Whether a search that has spent its budget, and a confirmation, end by writing it.
        top: How many of the best trials it shows one by one.
        format: Of the figures' files.
    """

    write: bool = True
    top: Annotated[int, Field(ge=1)] = 3
    format: Literal["png", "svg", "pdf"] = "png"


_LEAST_SHARE: Final = 0.0001


class ResourcesConfig(Section):
    """What a trial gets of a machine.

    Attributes:
        cpus_per_trial: Cores, or auto: the cores a GPU has its share of, or one where there is no GPU.
        gpus_per_trial: 1, a fraction to share a GPU, 0, or auto: one where there is one. A trial trains on one GPU; a
            search fills several with trials.
        max_concurrent: Trials at once, or null for as many as fit.
        cache_dir: Where a node keeps decoded images; null is `~/.cache/aerosweep`.
    """

    cpus_per_trial: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    gpus_per_trial: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    cache_dir: Path | None = None

    @field_validator("cpus_per_trial", "gpus_per_trial")
    @classmethod
    def _is_placeable(cls, value: float | str, info: ValidationInfo) -> float | str:
        if info.field_name == "gpus_per_trial" and isinstance(value, float) and value > 1:
            rule = "resources.gpus_per_trial must be at most 1: a trial trains on one GPU, others would idle"
            remedy = "Set resources.gpus_per_trial=1: a search fills every GPU with a trial of its own"
            raise InputError(rule, f"{value:g}", remedy)
        if isinstance(value, float) and 0 < value < _LEAST_SHARE:
            rule = f"resources.{info.field_name} must be {_LEAST_SHARE} or above, the least that Ray counts"
            raise InputError(rule, value, "Raise it")
        if isinstance(value, float) and value > 1 and not value.is_integer():
            rule = f"resources.{info.field_name} must be a whole number, or below 1 to share one"
            raise InputError(rule, value, f"Write {int(value)} or {int(value) + 1}")
        return value


class TrackingConfig(Section):
    """Where MLflow is.

    Whatever is made of it (the search's own copy of the config, params in MLflow) has the URI without its password.

    Attributes:
        uri: A tracking URI; null takes MLFLOW_TRACKING_URI, else an SQLite file beside the searches.
        experiment: Name of the MLflow experiment.
    """

    uri: Annotated[Annotated[str, Field(min_length=1)] | None, Field(repr=False)] = None
    experiment: Annotated[str, Field(min_length=1)] = "aerosweep"

    @field_serializer("uri")
    def _redacted(self, uri: str | None) -> str | None:
        return None if uri is None else redacted(uri)


class SpaceConfig(BaseModel):
    """The searched part: a scalar is fixed, a list is a choice, {low, high[, log]} is a range."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: dict[str, Any] = {}
    loss: dict[str, Any] = {}
    optimizer: dict[str, Any] = {}
    data: dict[str, Any] = {}

    _parsed: Space = PrivateAttr()

    @model_validator(mode="after")
    def _parse(self) -> Self:
        self._parsed = parse_space(self.model_dump())
        return self

    @property
    def parsed(self) -> Space:
        """The space in the form that suggests."""
        return self._parsed

    def absolute(self) -> "SpaceConfig":
        """The same with absolute paths of encoder weights."""
        given = self.model.get("encoder_weights")
        if given is None:
            return self
        weights = [_absolute_weights(value) for value in given] if isinstance(given, list) else _absolute_weights(given)
        changes: dict[str, Any] = {"encoder_weights": weights}
        if self.model.get("exclude"):
            changes["exclude"] = [_with_absolute_weights(entry) for entry in self.model["exclude"]]
        return SpaceConfig(**self.model_dump() | {"model": self.model | changes})


def _with_absolute_weights(entry: dict[str, Any]) -> dict[str, Any]:
    weights = entry.get("encoder_weights")
    return entry if weights is None else entry | {"encoder_weights": _absolute_weights(weights)}


def _absolute_weights(value: str) -> str:
    return value if value in ("imagenet", "none") else str(Path(value).expanduser().absolute())


def _must_grow(objective: str) -> str:
    if not is_minimised(objective):
        return objective
    kind, slash, class_name = objective.partition("/")
    opposite = METRICS[kind].opposite
    raise InputError(
        "objective must begin with one that grows: the first drives early stopping and the best epoch",
        show(objective),
        "Put it later in the list" + (f", or use {opposite}{slash}{class_name}" if opposite else ""),
    )


def _as_recorded(objective: str) -> str:
    """The objective under the name that its metric is recorded by."""
    kind, slash, class_name = objective.partition("/")
    if not slash:
        return objective
    from trainable.record.metric_names import metric_safe  # here, because few configs need to wait for it

    return f"{kind}/{metric_safe(class_name)}"


def _check_objectives(given: str | list[str]) -> str | list[str]:
    names = [_as_recorded(name) for name in ([given] if isinstance(given, str) else given)]
    if not names:
        raise InputError("objective must name at least one", "[]", "Write for example [miou, thing_recall]")
    if len(set(names)) < len(names):
        raise InputError("objective must not name one twice", show(given), "Remove the double")
    _must_grow(names[0])
    return names[0] if len(names) == 1 else names


OneObjective = Annotated[Objective, AfterValidator(_check_objectives)]
"""The objective of a single trial."""

Objectives = Annotated[
    # Told apart by hand: of a plain union, pydantic would name the mistakes in both readings.
    Annotated[Objective, Tag("name")] | Annotated[list[Objective], Tag("list")],
    Discriminator(lambda given: "list" if isinstance(given, list) else "name"),
    AfterValidator(_check_objectives),
]
"""A name, or a list of at least two; a list of one is the same as the name."""


StorageUrl = Annotated[str, Field(min_length=1), AfterValidator(lambda url: without_secret("storage", url))]
"""A path, or an fsspec URL without credentials."""


class SearchConfig(Section):
    """A whole search; see docs/config.md for every key.

    Attributes:
        name: Its folder below `storage`, letters, digits, `.`, `_` and `-`.
        storage: The folder of all searches: a path, or an fsspec URL such as `s3://bucket/searches`.
        objective: What is optimised on dev: a name, or a list of names for the front of the best trade-offs. The first
            drives early stopping and the best epoch, so it is one that grows.
        baselines: `seed` enqueues the fifteen model x loss combinations of the seed study, `strong` what the field
            holds against rare classes, `none` nothing, a list its points; baselines are never stopped early.
        seed: Of the sampler, the initial weights and the data order.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)]
    dataset: DatasetConfig
    storage: StorageUrl = "runs"
    objective: Objectives = "miou"
    space: SpaceConfig = SpaceConfig()
    baselines: Literal["seed", "strong", "none"] | list[dict[str, Any]] = "none"
    budget: BudgetConfig = BudgetConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    confirm: ConfirmConfig = ConfirmConfig()
    report: ReportConfig = ReportConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    resources: ResourcesConfig = ResourcesConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tracking: TrackingConfig = TrackingConfig()
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        problems = []
        if self.first_rung > self.budget.max_epochs:
            rule = f"scheduler.grace_epochs must be at most budget.max_epochs ({self.budget.max_epochs})"
            remedy = "Lower it, or train longer; where the two are the same, no trial is stopped early"
            problems.append(InputError(rule, self.first_rung, remedy))
        if self.runtime.precision == "fp16" and self.resources.gpus_per_trial == 0:
            remedy = "Set runtime.precision to auto, bf16 or fp32, or give the trials a GPU"
            problems.append(InputError("runtime.precision fp16 needs a GPU", "resources.gpus_per_trial 0", remedy))
        warmup = highest(self.parsed_space.domains.get("optimizer.warmup_epochs", _DEFAULT_WARMUP))
        if warmup >= self.budget.max_epochs:
            problems.append(too_long_a_warmup("space.optimizer.warmup_epochs", warmup, self.budget.max_epochs))
        try:
            baseline_points(self.baselines, self.parsed_space)
        except InputError as error:
            problems += flatten(error)
        raise_all(problems)
        return self

    @property
    def objectives(self) -> tuple[str, ...]:
        """What is optimised; the first decides a trial's best epoch and who is stopped early."""
        return (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)

    @property
    def first_rung(self) -> int:
        """The epoch at which trials are first compared, and the weak ones stopped."""
        return first_rung(self.scheduler.grace_epochs, self.budget.max_epochs)

    @property
    def most_trials(self) -> int:
        """How many trials a search can have: its budget, or the points of its space where these are fewer."""
        return int(min(self.budget.trials, SpacePoints(self.parsed_space).count))

    @property
    def parsed_space(self) -> Space:
        """The space in the form that suggests."""
        return self.space.parsed

    def absolute(self) -> "SearchConfig":
        """The same with absolute paths: workers run in other directories."""
        cache_dir = self.resources.cache_dir
        changes: dict[str, Any] = {"dataset": self.dataset.absolute(), "space": self.space.absolute()}
        if cache_dir:
            changes["resources"] = self.resources.model_copy(update={"cache_dir": cache_dir.expanduser().resolve()})
        if "://" not in self.storage:
            changes["storage"] = str(Path(self.storage).expanduser().resolve())
        return self.model_copy(update=changes)

    def resolved(self) -> "SearchConfig":
        """The same with what follows from other keys as numbers, for those who read it without us."""
        scheduler = self.scheduler.model_copy(update={"grace_epochs": self.first_rung})
        budget = self.budget.model_copy(update={"trials": self.most_trials})
        return self.model_copy(update={"scheduler": scheduler, "budget": budget})

    @property
    def folder(self) -> str:
        """The folder of this search."""
        return f"{self.storage.rstrip('/')}/{self.name}"


_DEFAULT_WARMUP: Final = Fixed(OptimizerConfig().warmup_epochs)


def first_rung(grace_epochs: int | None, max_epochs: int) -> int:
    """The epoch at which trials are first compared, where the grace period may be left open."""
    return grace_epochs or math.ceil(max_epochs / FIRST_RUNG)


def too_long_a_warmup(key: str, warmup: float, max_epochs: int) -> InputError:
    """The error for a warm-up that does not end within the training."""
    rule = f"{key} must be below budget.max_epochs ({max_epochs})"
    return InputError(rule, f"{warmup:g}", "Shorten the warm-up, or train longer")


def new_search_id() -> str:
    """An id that no other search has, also not one of the same name on another machine."""
    return uuid.uuid4().hex
