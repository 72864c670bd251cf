"""The training loop of one trial, an epoch at a time; it knows neither where it is recorded nor who stops it."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainable.batches.batch_feed import Batch, BatchFeed
from trainable.batches.crops import CropSampler
from trainable.data.trial_data import TrialData
from trainable.device import Compute, peak_memory_mb, reset_peak_memory
from trainable.losses.loss_factory import build_loss
from trainable.measure.confusion import outcome_counts
from trainable.measure.evaluation import Evaluation, Scoring, evaluate
from trainable.measure.fitted_tiles import FittedTiles
from trainable.measure.image_counts import ImageCounts
from trainable.measure.logit_adjustment import TAUS, log_priors
from trainable.measure.split_metrics import adjusted_metrics, fit_tau, split_metrics
from trainable.measure.tiles import DEFAULT_TILING, Tiling
from trainable.measure.val_counts import ValCounts, ValOutcome
from trainable.micro_batches import MicroBatches
from trainable.network.compilation import compile_seconds, compiled
from trainable.network.model import build_model
from trainable.out_of_memory import required_to_fit
from trainable.record import metric_names as names
from trainable.schedule import learning_rate_factor
from trainable.trial_config import TrialConfig

State = dict[str, Any]
"""Tensors and plain values: what `torch.load(weights_only=True)` reads back."""


class InterruptedTraining(Exception):  # noqa: N818 (a request, not an error)
    """The epoch was left because somebody asked the trial to stop; nothing of it is kept."""


@dataclass(frozen=True)
class EpochOutcome:
    """What one epoch gave.

    Attributes:
        metrics: Finite values under the names of `trainable.record.metric_names`.
        diverged: Why the trial cannot go on, or None.
        matrix: int64 (classes x classes) on dev, rows true, or None where the trial diverged.
        image_counts: On dev, or None likewise.
        notes: Lines for the user: what had to be changed to get here.
    """

    metrics: dict[str, float]
    diverged: str | None = None
    matrix: NDArray[np.int64] | None = None
    image_counts: ImageCounts | None = None
    notes: tuple[str, ...] = ()


class Training:
    """A network in training.

    Args:
        config: What to train.
        data: The images, split.
        compute: Device and precision.
    """

    def __init__(self, config: TrialConfig, data: TrialData, compute: Compute) -> None:
        torch.manual_seed(config.seed)
        self._config = config
        self._data = data
        self._compute = compute
        model = build_model(config.model, data.num_classes)
        self._model = model.to(compute.device, memory_format=compute.memory_format)  # type: ignore[call-overload]
        self._forward: nn.Module = self._model
        if config.runtime.compile:
            self._forward = compiled(self._model, config.model, config.data, compute)
        pixel_counts = data.cache.pixel_counts[list(data.splits.train)].sum(axis=0)
        self._criterion = build_loss(config.loss, pixel_counts).to(compute.device)
        self._on_gpu = compute.device.type == "cuda"
        self._sampler = CropSampler(data.cache, data.splits.train, config.data, config.seed, pinned=self._on_gpu)
        self._scoring = Scoring(
            thing_labels=data.image_set.thing_labels,
            min_object_pixels=config.evaluation.min_object_pixels,
            log_prior=log_priors(pixel_counts),
            taus=TAUS,
        )
        optimizer = config.optimizer
        self._optimizer = torch.optim.AdamW(
            self._model.parameters(),
            lr=optimizer.learning_rate,
            weight_decay=optimizer.weight_decay,
            # One pass over the weights, and on a GPU no wait for the scaler's verdict.
            fused=all(map(_is_dense, self._model.parameters())),
        )
        self._scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.dtype == torch.float16)
        self._micro_batches = MicroBatches(config, self._model, self._forward, compute, self._scaler)
        height, width = config.data.crop_size
        self._fitted = FittedTiles(smallest=height * width)

    def run_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> EpochOutcome:
        """Train and evaluate epoch `epoch`, from 1.

        Args:
            epoch: Which one; the one after the last that this object (or its restored state) has trained.
            should_stop: Asked before each step.

        Raises:
            InterruptedTraining: `should_stop` said so.
            InputError: A training step does not fit into memory, however few images are computed at once, or an
                evaluation, however small its tiles.
        """
        reset_peak_memory(self._compute.device)
        compiled_before = compile_seconds()
        began = time.perf_counter()
        train_loss, waited = self._train(epoch, should_stop)
        seconds = time.perf_counter() - began
        notes = self._micro_batches.take_notes()
        if not math.isfinite(train_loss):
            return EpochOutcome({}, diverged=f"the training loss became {train_loss} in epoch {epoch}", notes=notes)
        evaluation = self._evaluate(self._data.splits.dev, self._scoring)
        notes += self._fitted.take_notes()
        notes += _compile_note(epoch, compile_seconds() - compiled_before)
        if evaluation.matrix.any() and not math.isfinite(evaluation.loss):
            # The weights broke in the last step: the labels of NaN logits would still make a number.
            return EpochOutcome({}, diverged=f"the dev loss became {evaluation.loss} in epoch {epoch}", notes=notes)
        metrics = {
            names.TRAIN_LOSS: train_loss,
            names.LEARNING_RATE: self._optimizer.param_groups[0]["lr"],
            names.IMAGES_PER_SECOND: self._sampler.steps * self._config.data.batch_size / seconds,
            names.DATA_WAIT: waited / seconds,
            names.MICRO_BATCH_SIZE: self._micro_batches.size,
            names.PEAK_MEMORY_MB: peak_memory_mb(self._compute.device),
        } | self._dev_metrics(evaluation)
        if self._fitted.tiling.side != DEFAULT_TILING.side:
            metrics[names.EVALUATION_TILE] = self._fitted.tiling.side
        counts = ImageCounts(**self._image_counts(evaluation, self._data.splits.dev))
        return EpochOutcome(metrics, None, evaluation.matrix, counts, notes)

    def _evaluate(self, indices: Sequence[int], scoring: Scoring) -> Evaluation:
        return evaluate(self._forward, self._criterion, self._data.cache, indices, self._compute, scoring, self._fitted)

    def _dev_metrics(self, evaluation: Evaluation) -> dict[str, float]:
        image_set, taus = self._data.image_set, self._scoring.taus
        adjusted = evaluation.adjusted.sum(axis=1)
        place = fit_tau(adjusted, taus, self._config.objective, image_set)
        metrics = split_metrics(evaluation.matrix, evaluation.objects, image_set)
        metrics |= adjusted_metrics(adjusted[place], taus[place], image_set)
        return metrics | ({names.DEV_LOSS: evaluation.loss} if math.isfinite(evaluation.loss) else {})

    def measure_val(self, weights: State, tau: float) -> ValOutcome:
        """Evaluate weights on val, with and without logit adjustment; training does not go on after it.

        Args:
            weights: Of a network of this config.
            tau: Strength of the adjustment, as dev chose it.

        Raises:
            InputError: It does not fit into memory, however small its tiles.
        """
        self._model.load_state_dict(weights)
        data = self._data
        evaluation = self._evaluate(data.splits.val, replace(self._scoring, taus=(tau,)))
        (adjusted,) = evaluation.adjusted
        metrics = split_metrics(evaluation.matrix, evaluation.objects, data.image_set)
        metrics |= adjusted_metrics(adjusted.sum(axis=0), tau, data.image_set)
        counts = ValCounts(
            **self._image_counts(evaluation, data.splits.val),
            adjusted_counts=outcome_counts(torch.from_numpy(adjusted)).numpy(),
            tau=tau,
        )
        return ValOutcome(metrics, evaluation.matrix, counts, self._fitted.take_notes())

    def _image_counts(self, evaluation: Evaluation, indices: Sequence[int]) -> dict[str, Any]:
        """The fields of `ImageCounts`."""
        image_set = self._data.image_set
        samples = [image_set.samples[index] for index in indices]
        return {
            "images": tuple(sample.id for sample in samples),
            "scenes": tuple(sample.scene for sample in samples),
            "class_names": tuple(entry.name for entry in image_set.classes),
            "class_colors": np.array([entry.color for entry in image_set.classes], dtype=np.uint8),
            "things": np.array([entry.thing for entry in image_set.classes]),
            "counts": evaluation.per_image_counts,
            "sized_objects": evaluation.sized_objects,
        }

    def _train(self, epoch: int, should_stop: Callable[[], bool]) -> tuple[float, float]:
        """Mean loss of the epoch, and seconds waited for batches."""
        self._model.train()
        total = torch.zeros((), device=self._compute.device)
        steps = self._sampler.steps
        threads = torch.get_num_threads() if self._on_gpu else 0
        with BatchFeed(functools.partial(self._sampler.batch, epoch), steps, threads=threads) as feed:
            for step, batch in enumerate(feed, start=(epoch - 1) * steps):
                if should_stop():
                    raise InterruptedTraining
                total += self._step(step, batch)
        # The only wait for the device in the epoch.
        return float(total) / steps, feed.waited

    def _step(self, step: int, batch: Batch) -> torch.Tensor:
        """Step `step` of the trial, from 0."""
        images, target = batch
        self._set_learning_rate(step)
        loss = self._micro_batches.backward(self._criterion, images, target)
        with required_to_fit("an optimizer's state", self._compute.device):  # made by the first step
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss

    def _set_learning_rate(self, step: int) -> None:
        """The schedule is a function of the step, so that its state is the epoch."""
        steps = self._sampler.steps
        config = self._config
        factor = learning_rate_factor(step, config.optimizer.warmup_epochs * steps, config.max_epochs * steps)
        for group in self._optimizer.param_groups:
            group["lr"] = config.optimizer.learning_rate * factor

    def state(self) -> State:
        """Everything that the next epoch depends on: network, optimizer, scaler, sizes that fit, random state."""
        state: State = {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "micro_batches": self._micro_batches.parts,
            "tiling": asdict(self._fitted.tiling),
            "random": torch.get_rng_state(),
        }
        if self._compute.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state()
        return state

    def load_state(self, state: State) -> None:
        """Continue from what `state` returned, on the same or another machine."""
        self._model.load_state_dict(state["model"])
        _load_optimizer(self._optimizer, state["optimizer"])
        if state["scaler"]:  # empty where the epochs before were not in fp16
            self._scaler.load_state_dict(state["scaler"])
        self._micro_batches.parts = state.get("micro_batches", 1)  # older states have none
        self._fitted.tiling = Tiling(**state.get("tiling", {}))  # nor a tiling
        torch.set_rng_state(state["random"].cpu())
        if self._compute.device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu())

    def weights(self) -> State:
        """The network's weights alone."""
        return dict(self._model.state_dict())


def _compile_note(epoch: int, seconds: float) -> tuple[str, ...]:
    """A line where it took long: `images_per_second` of the epoch has that time in it."""
    return (f"{seconds:.0f} s of epoch {epoch} went into compiling the network",) if seconds >= 1 else ()


def _is_dense(weights: torch.Tensor) -> bool:
    """Whether a fused step may walk over them; it takes floating-point numbers without gaps."""
    dense = weights.is_contiguous() or weights.is_contiguous(memory_format=torch.channels_last)
    return dense and weights.is_floating_point()


def _load_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Continue from a state, also from one of a step that was not fused, or of another memory format."""
    groups = [group | {"fused": optimizer.defaults["fused"]} for group in state["param_groups"]]
    optimizer.load_state_dict(state | {"param_groups": groups})
    for weights, moments in optimizer.state.items():
        for name, loaded in moments.items():
            # A fused step on the CPU does not look at strides.
            if loaded.shape == weights.shape and loaded.stride() != weights.stride():
                moments[name] = torch.empty_like(weights).copy_(loaded)
