"""A configuration on one side of a comparison, with what its networks did on each image of a split."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.evidence.scene_scores import Metric, SceneCounts, SplitCounts, scene_metric
from analysis.recorded.recorded_search import RecordedTrial
from analysis.words.configuration_words import architecture_title, configuration_words
from trainable.measure.image_counts import ImageCounts
from trainable.measure.val_counts import ValCounts


class NothingToCompare(Exception):  # noqa: N818 (no error: the report says so and goes on)
    """There are no two configurations with counts; the message says what is missing and what to do."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Side:
    """A configuration and what its networks did on each image of a split.

    Attributes:
        trial: Of the search.
        dev: Its objective on dev.
        runs: What each network counted, at least one.
        run_ids: MLflow's id of each of them.
        epochs: That each of them trained.
        lost: Seeds that have no network.
    """

    trial: RecordedTrial
    dev: float
    runs: tuple[ImageCounts, ...]
    run_ids: tuple[str, ...]
    epochs: int
    lost: int = 0

    @property
    def loss(self) -> str:
        """Name of its loss."""
        return self.trial.loss

    @property
    def baseline(self) -> bool:
        """Whether it was an enqueued baseline."""
        return self.trial.baseline

    @property
    def trial_id(self) -> str:
        """Of the search's trial."""
        return self.trial.trial_id

    @property
    def title(self) -> str:
        """`Tversky (.62, .31, 1.1) on DeepLabV3+`."""
        return configuration_words(self.trial.config)

    @property
    def architecture(self) -> str:
        """`DeepLabV3+`."""
        return architecture_title(self.trial.config)

    @cached_property
    def networks(self) -> list[SceneCounts]:
        """What each network counted by scene."""
        return [SplitCounts(run.counts, run.objects).by_scene(run.scenes) for run in self.runs]

    @cached_property
    def adjusted_networks(self) -> list[SceneCounts]:
        """The same after logit adjustment; empty where that was not measured."""
        held = [run for run in self.runs if isinstance(run, ValCounts)]
        return [SplitCounts(run.adjusted_counts, run.objects).by_scene(run.scenes) for run in held]

    def metric(self, name: str) -> Metric:
        """The metric of a name; see `analysis.evidence.scene_scores.scene_metric`."""
        return scene_metric(name, self.runs[0].class_names, self.things)

    @property
    def things(self) -> list[int]:
        """Labels of the thing classes."""
        labels: list[int] = np.flatnonzero(self.runs[0].things).tolist()
        return labels

    def value(self, name: str) -> float:
        """Mean of a metric over the networks; NaN where it is undefined for one."""
        metric = self.metric(name)
        return float(np.mean([metric.on_all(network) for network in self.networks]))


def judged_things(side: Side) -> list[str]:
    """The thing classes that occur in a side's images, the one that they can judge best first.

    That is the one with true objects in most scenes, then with most objects, then with pixels in most scenes, then the
    first. It depends on the truth alone, never on what a network did.
    """
    truth = side.networks[0]
    has_objects, has_pixels = truth.objects[..., 0] > 0, truth.pixels > 0

    def rank(label: int) -> tuple[int, int, int, int]:
        objects = int(truth.objects[:, label, 0].sum())
        return -int(has_objects[:, label].sum()), -objects, -int(has_pixels[:, label].sum()), label

    names = side.runs[0].class_names
    return [names[label] for label in sorted(side.things, key=rank) if has_pixels[:, label].any()]


def dev_side(trial: RecordedTrial) -> Side:
    """A trial and what its best epoch did on dev.

    Raises:
        NothingToCompare: It recorded no counts by image.
    """
    counts = trial.image_counts
    if counts is None:
        raise NothingToCompare(
            f"{trial.trial_id} has no counts by image (per_image_counts.npz), which every number of a scene or an "
            "object comes from. Run `aerosweep sync` on the search's folder, then make the report again."
        )
    return Side(trial=trial, dev=trial.objective, runs=(counts,), run_ids=(trial.run_id,), epochs=trial.epochs)
