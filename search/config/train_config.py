"""The config of `aerosweep train`: one point instead of a space."""

import hashlib
import json
import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from search.config.search_config import (
    NAME_PATTERN,
    BudgetConfig,
    OneObjective,
    ResourcesConfig,
    SchedulerConfig,
    SearchConfig,
    SpaceConfig,
    StorageUrl,
    TrackingConfig,
    too_long_a_warmup,
)
from trainable.config.loss_config import LossConfig
from trainable.config.section import Section
from trainable.config.sections import DataConfig, EvaluationConfig, ModelConfig, OptimizerConfig, RuntimeConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.trial_config import TrialConfig


class TrainBudgetConfig(Section):
    """How long one trial may take.

    Attributes:
        max_epochs: Its epochs.
        hours: Wall-clock hours of one launch, or null for no limit.
    """

    max_epochs: Annotated[int, Field(ge=1)] = 30
    hours: Annotated[float, Field(gt=0)] | None = None


class TrainConfig(Section):
    """One training run: the keys of a search, one value each, `space.` left out.

    Attributes:
        name: Its folder below `storage`; by default made of what is trained, so that the same config resumes it.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=100)] | None = None
    dataset: DatasetConfig
    storage: StorageUrl = "runs"
    objective: OneObjective = "miou"
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    data: DataConfig = DataConfig()
    budget: TrainBudgetConfig = TrainBudgetConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    resources: ResourcesConfig = ResourcesConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tracking: TrackingConfig = TrackingConfig()
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        warmup, max_epochs = self.optimizer.warmup_epochs, self.budget.max_epochs
        if warmup >= max_epochs:
            raise too_long_a_warmup("optimizer.warmup_epochs", warmup, max_epochs)
        return self

    def as_search(self) -> SearchConfig:
        """The search of one trial that trains this config."""
        return SearchConfig(
            name=self.name or self.default_name(),
            dataset=self.dataset,
            storage=self.storage,
            objective=self.objective,
            space=SpaceConfig(**self._sections()),
            budget=BudgetConfig(trials=1, max_epochs=self.budget.max_epochs, hours=self.budget.hours),
            scheduler=SchedulerConfig(grace_epochs=self.budget.max_epochs),
            evaluation=self.evaluation,
            resources=self.resources,
            runtime=self.runtime,
            tracking=self.tracking,
            seed=self.seed,
        )

    def default_name(self) -> str:
        """A name that two configs share when they train the same thing, wherever and on whatever they do."""
        trial = TrialConfig(
            dataset=self.dataset.absolute(),
            model=self.model,
            loss=self.loss,
            optimizer=self.optimizer,
            data=self.data,
            evaluation=self.evaluation,
            objective=self.objective,
            max_epochs=self.budget.max_epochs,
            seed=self.seed,
        )
        values = trial.model_dump(mode="json", exclude={"runtime"})
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]
        return f"train-{_in_a_name(self.model.architecture)}-{_in_a_name(self.loss.name)}-{digest}"

    def _sections(self) -> dict[str, dict[str, object]]:
        sections = {"model": self.model, "loss": self.loss, "optimizer": self.optimizer, "data": self.data}
        return {name: section.model_dump(exclude_none=True) for name, section in sections.items()}


def _in_a_name(text: str) -> str:
    """What a folder's name may hold of a text; of a class of the user's own, the class."""
    return re.sub(r"[^\w.-]", "-", text.rpartition(":")[2], flags=re.ASCII)[:40]
