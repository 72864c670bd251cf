"""What a confirmation says: each configuration's val scores over fresh seeds, and each claim against the reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol, TypeVar

import numpy as np

from analysis.evidence.claims import Claim, Configuration, compare, vanishes_when_adjusted
from analysis.evidence.scene_bootstrap import MeanInterval, interval_of_mean
from analysis.evidence.scene_scores import Metric, SceneCounts, SplitCounts, scene_metric
from trainable.measure.val_counts import ValCounts

SUMMARY_METRICS: Final = ("miou", "thing_miou", "thing_miss_rate", "thing_false_alarms_per_image")
"""What is shown of every configuration, beside the objectives."""

OBJECT_KINDS: Final = ("miss_rate", "false_alarms_per_image")
"""What is said of the objects of each thing class."""


@dataclass(frozen=True, eq=False)
class ConfirmedTrial:
    """A configuration that was trained from fresh seeds and measured on val.

    Attributes:
        trial: Id of the search's trial.
        label: Model and loss in words.
        loss: Name of the loss.
        reasons: Why it was confirmed.
        baseline: Whether the search tried it as an enqueued baseline.
        dev: Its objective on dev, in the search.
        epochs: Epochs of each run.
        runs: What the network of each seed counted, at least one.
        lost: Seeds that diverged or failed, and have no network.
        run_ids: MLflow's id of each run, in order; empty where the runs were not read from there.
    """

    trial: str
    label: str
    loss: str
    reasons: tuple[str, ...]
    baseline: bool
    dev: float
    epochs: int
    runs: tuple[ValCounts, ...]
    lost: int = 0
    run_ids: tuple[str, ...] = ()

    @cached_property
    def networks(self) -> list[SceneCounts]:
        """What each seed's network counted by scene."""
        return [SplitCounts(run.counts, run.objects).by_scene(run.scenes) for run in self.runs]

    @cached_property
    def adjusted_networks(self) -> list[SceneCounts]:
        """The same after logit adjustment; the objects are those of the network as it is."""
        return [SplitCounts(run.adjusted_counts, run.objects).by_scene(run.scenes) for run in self.runs]


@dataclass(frozen=True, eq=False)
class ConfirmedRow:
    """A configuration's scores on val.

    Attributes:
        trial: The configuration.
        scores: By metric.
        adjusted: The same of the pixel metrics after logit adjustment, with the tau of each seed fitted on dev.
        tau: Mean over seeds.
    """

    trial: ConfirmedTrial
    scores: dict[str, MeanInterval]
    adjusted: dict[str, MeanInterval]
    tau: float


@dataclass(frozen=True, eq=False)
class Confirmation:
    """What a confirmation says as a whole.

    Attributes:
        rows: Configurations, the best by the first objective on val first.
        reference: What the others are compared with, or None.
        claims: Of each other configuration by each metric.
        adjusted_claims: The same after logit adjustment of both sides, of pixel metrics.
        scenes: Scenes of val.
        images: Images of val.
    """

    rows: list[ConfirmedRow]
    reference: ConfirmedTrial | None
    claims: list[Claim]
    adjusted_claims: list[Claim]
    scenes: int
    images: int


def judge(trials: Sequence[ConfirmedTrial], objectives: Sequence[str], relevant_gain: float) -> Confirmation:
    """Score every configuration and compare it with the reference.

    Args:
        trials: At least one, measured on the same val split.
        objectives: Of the search; the first orders the rows.
        relevant_gain: The least difference that would matter.
    """
    metrics = _metrics(trials[0].runs[0], objectives)
    reference = choose_reference(trials)
    rows = [_row(trial, metrics) for trial in trials]
    first = metrics[0]
    rows.sort(key=lambda row: _order(row.scores[first.name].value, first.minimised))
    others = [row.trial for row in rows if row.trial is not reference]
    claims: list[Claim] = []
    adjusted: list[Claim] = []
    if reference is not None:
        of_pixels = [metric for metric in metrics if _is_of_pixels(metric)]
        for other in others:
            sides = _sides(other, other.networks, reference, reference.networks)
            claims += [compare(*sides, metric, relevant_gain=relevant_gain) for metric in metrics]
            sides = _sides(other, other.adjusted_networks, reference, reference.adjusted_networks)
            adjusted += [compare(*sides, metric, relevant_gain=relevant_gain) for metric in of_pixels]
    run = trials[0].runs[0]
    return Confirmation(rows, reference, claims, adjusted, len(set(run.scenes)), len(run.images))


def _sides(
    candidate: ConfirmedTrial,
    candidate_networks: Sequence[SceneCounts],
    reference: ConfirmedTrial,
    reference_networks: Sequence[SceneCounts],
) -> tuple[Configuration, Configuration]:
    return (
        Configuration(candidate.trial, candidate_networks),
        Configuration(reference.trial, reference_networks),
    )


class Ranked(Protocol):
    """What a reference is chosen by."""

    @property
    def loss(self) -> str:
        """Name of the loss."""
        ...

    @property
    def baseline(self) -> bool:
        """Whether the search tried it as an enqueued baseline."""
        ...

    @property
    def dev(self) -> float:
        """Its objective on dev."""
        ...


_Ranked = TypeVar("_Ranked", bound=Ranked)


def choose_reference(trials: Sequence[_Ranked]) -> _Ranked | None:
    """What the others are compared with: the best baseline by dev, else the best cross entropy, else nothing.

    Chosen by dev scores, so that val decides nothing but the verdict.
    """
    for pool in ([t for t in trials if t.baseline], [t for t in trials if t.loss == "cross_entropy"]):
        if pool:
            return max(pool, key=lambda trial: trial.dev)
    return None


def metric_names(counts: ValCounts, objectives: Sequence[str]) -> list[str]:
    """What is scored: the objectives, the summary, and each thing class by IoU, miss rate and false alarms."""
    things = [name for name, thing in zip(counts.class_names, counts.things, strict=True) if thing]
    by_class = [f"{kind}/{name}" for name in things for kind in ("iou", *OBJECT_KINDS)]
    summary = SUMMARY_METRICS if things else SUMMARY_METRICS[:1]
    return list(dict.fromkeys([*objectives, *summary, *by_class]))


def _metrics(counts: ValCounts, objectives: Sequence[str]) -> list[Metric]:
    things = np.flatnonzero(counts.things).tolist()
    return [scene_metric(name, counts.class_names, things) for name in metric_names(counts, objectives)]


def _row(trial: ConfirmedTrial, metrics: Sequence[Metric]) -> ConfirmedRow:
    plain, adjusted = trial.networks, trial.adjusted_networks
    return ConfirmedRow(
        trial=trial,
        scores={metric.name: interval_of_mean(plain, metric) for metric in metrics},
        adjusted={metric.name: interval_of_mean(adjusted, metric) for metric in metrics if _is_of_pixels(metric)},
        tau=float(np.mean([run.tau for run in trial.runs])),
    )


def _is_of_pixels(metric: Metric) -> bool:
    return not metric.entry.of_objects


def _order(value: float, minimised: bool) -> tuple[bool, float]:
    """Best first, undefined last."""
    return np.isnan(value), value if minimised else -value


def moved_only_the_operating_point(confirmation: Confirmation, trial: str, metric: str) -> bool:
    """Whether a trial's gain `vanishes_when_adjusted`; False where it was not claimed."""
    plain = _find(confirmation.claims, trial, metric)
    adjusted = _find(confirmation.adjusted_claims, trial, metric)
    return plain is not None and adjusted is not None and vanishes_when_adjusted(plain, adjusted)


def _find(claims: Sequence[Claim], trial: str, metric: str) -> Claim | None:
    return next((claim for claim in claims if claim.candidate == trial and claim.metric == metric), None)
