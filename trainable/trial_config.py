"""The resolved configuration of one trial: plain values, checked when they are read, frozen afterwards."""

from typing import Annotated, Self

from pydantic import (
    Field,
    model_validator,
)

from trainable.config.loss_config import LossConfig
from trainable.config.objectives import Objective
from trainable.config.section import Section
from trainable.config.sections import DataConfig, EvaluationConfig, ModelConfig, OptimizerConfig, RuntimeConfig
from trainable.data.dataset_config import DatasetConfig


class TrialConfig(Section):
    """Everything that decides what a trial computes.

    Attributes:
        max_epochs: Epochs of a trial that is not stopped early; also the length of the cosine schedule.
        objective: The metric whose running best is the objective, and whose best epoch is kept.
        seed: Initial weights, data order and augmentation: trials of a search share it (common random numbers).
    """

    dataset: DatasetConfig
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    data: DataConfig = DataConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    objective: Objective = "miou"
    max_epochs: Annotated[int, Field(ge=1)] = 30
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.optimizer.warmup_epochs >= self.max_epochs:
            raise ValueError(
                "optimizer.warmup_epochs must be below budget.max_epochs; "
                f"got {self.optimizer.warmup_epochs} and {self.max_epochs}. Shorten the warm-up or train longer"
            )
        return self
