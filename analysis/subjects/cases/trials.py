"""The two trials whose predictions are looked at, and pictures of what they predict."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.recorded.predictions import Predictor
from analysis.recorded.recorded_search import RecordedTrial
from analysis.subjects.cases.figure import Case, Panel
from analysis.subjects.cases.table import around, image_ious, image_mious, object_box
from analysis.subjects.plate import Unavailable
from analysis.words.configuration_words import configuration_words
from analysis.words.number_words import counted, objects_of, short, shortened
from trainable.data.components import Objects
from trainable.data.trial_data import TrialData
from trainable.measure.image_counts import ImageCounts
from trainable.measure.object_errors import are_found, pixel_hits
from trainable.trial_config import TrialConfig

_LONGEST_ID: Final = 36
_LONGEST_CLASS: Final = 14
"""Characters that fit above a panel."""


class CaseTrials:
    """The best trial and the baseline, with networks that label each image once.

    Every part raises `Unavailable` where it is missing.

    Args:
        best: The best trial; None where no trial has ended.
        baseline: What it is compared with; None where there is none.
        data: The image set, or None where it cannot be read.
        why_no_data: Why not.
    """

    def __init__(
        self, best: RecordedTrial | None, baseline: RecordedTrial | None, data: TrialData | None, why_no_data: str
    ) -> None:
        self._best, self._baseline, self._data, self._why_no_data = best, baseline, data, why_no_data

    @property
    def best(self) -> RecordedTrial:
        """The best trial."""
        if self._best is None:
            raise Unavailable("Predictions are those of the best trial, and no trial has ended yet.")
        return self._best

    @property
    def baseline(self) -> RecordedTrial:
        """The baseline, another trial than the best."""
        if self._baseline is None:
            raise Unavailable(
                "The best trial is compared with the best baseline, and no baseline of this search has ended. Let it "
                "run on, or search with baselines."
            )
        if self._baseline.run_id == self.best.run_id:
            both = f"{self.best.trial_id} ({configuration_words(self.best.config)}) is both"
            raise Unavailable(
                f"The best trial is compared with the best baseline, and {both}: the search found nothing better. "
                "Give it more trials."
            )
        return self._baseline

    @property
    def counts(self) -> ImageCounts:
        """What the best trial did on dev."""
        return _counts(self.best)

    @property
    def baseline_counts(self) -> ImageCounts:
        """What the baseline did on dev."""
        return _counts(self.baseline)

    @property
    def _image_set(self) -> TrialData:
        if self._data is None:
            raise Unavailable(
                "Predictions are drawn over the images of the data set, which cannot be read: "
                f"{self._why_no_data or 'none was given'}. Make the report where they lie."
            )
        return self._data

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.best, self.counts, self._image_set)

    @cached_property
    def _baseline_predictor(self) -> Predictor:
        return Predictor(self.baseline, self.baseline_counts, self._image_set)

    def whole(self, row: int) -> Case:
        """A dev image, its truth, and what the best trial predicts.

        Args:
            row: Of the counts.

        Raises:
            InputError: The network cannot be had, or the image set is not the recorded one.
        """
        predicted = self._predictor.labels(row)
        panels = (
            Panel("image", None),
            Panel("true labels", self._truth(row), named=True),
            Panel(f"predicted by {self.best.trial_id}", predicted),
        )
        occurring = int((~np.isnan(image_ious(self.counts)[row])).sum())
        classes = f"{occurring} class" if occurring == 1 else f"{occurring} classes"
        heading = f"{self._name(row)}: mIoU {short(image_mious(self.counts)[row])} over {classes}"
        return Case(heading, self._image(row), panels)

    def difference(self, row: int, found: bool) -> Case | None:
        """A dev image with the objects boxed that one network finds and the other misses, the largest enlarged.

        Args:
            row: Of the counts.
            found: Objects that the best trial finds; else those that the baseline finds.

        Returns:
            None where the predictions made here have no such object, though other ones had when they were counted.

        Raises:
            InputError: A network cannot be had, or the image set is not the recorded one.
        """
        predictions = self._predictor.labels(row), self._baseline_predictor.labels(row)
        objects = self._image_set.cache.objects(self._image_set.splits.dev[row])
        by_best, by_baseline = (are_found(pixel_hits(labels, objects), objects) for labels in predictions)
        differ = (by_best & ~by_baseline) if found else (by_baseline & ~by_best)
        least = TrialConfig.model_validate(self.best.config).evaluation.min_object_pixels
        chosen = np.flatnonzero(differ & (objects.sizes >= least)).tolist()
        if not chosen:
            return None
        largest = chosen[int(objects.sizes[chosen].argmax())]
        label = int(objects.labels[largest])
        right = [self._right(labels, objects, largest) for labels in predictions]
        height, width = predictions[0].shape
        boxes = tuple(object_box(objects, number, width) for number in chosen)
        part = around(object_box(objects, largest, width), height, width)
        panels = (
            Panel("image", None, enlarged_title=f"dashed part, {height / (part.bottom - part.top):.1f} times larger"),
            Panel("true labels", self._truth(row), enlarged_title=self._class(label)),
            Panel(f"baseline {self.baseline.trial_id}", predictions[1], enlarged_title=right[1]),
            Panel(f"best trial {self.best.trial_id}", predictions[0], enlarged_title=right[0]),
        )
        heading = self._difference_heading(row, objects.labels[chosen].tolist())
        return Case(heading, self._image(row), panels, boxes, part)

    def _right(self, predicted_HW: NDArray[np.uint8], objects: Objects, number: int) -> str:
        """How much of an object is right, and what most of it is taken for: `12 % right, mostly plant`."""
        of_object = slice(*objects.starts[number : number + 2])
        labels = np.bincount(predicted_HW.ravel()[objects.pixels[of_object]])
        true, most = int(objects.labels[number]), int(labels.argmax())
        # Rounded down: an object of which 49.9 % are right is missed.
        hits = int(labels[true]) if true < len(labels) else 0
        share = f"{100 * hits // int(labels.sum())} % right"
        return share if most == true else f"{share}, mostly {self._class(most)}"

    def _difference_heading(self, row: int, labels: Sequence[int]) -> str:
        names = self.counts.class_names
        of_class = [
            f"{number} {names[label] if number == 1 else objects_of(names[label])}"
            for label, number in sorted(Counter(labels).items())
        ]
        mious = [short(image_mious(counts)[row]) for counts in (self.counts, self.baseline_counts)]
        return f"{self._name(row)}: {', '.join(of_class)}; mIoU {mious[0]} best trial, {mious[1]} baseline"

    def _name(self, row: int) -> str:
        return shortened(self.counts.images[row], _LONGEST_ID)

    def _class(self, label: int) -> str:
        return shortened(self.counts.class_names[label], _LONGEST_CLASS)

    def _image(self, row: int) -> NDArray[np.uint8]:
        return self._image_set.cache.image(self._image_set.splits.dev[row])

    def _truth(self, row: int) -> NDArray[np.uint8]:
        return self._image_set.cache.mask(self._image_set.splits.dev[row])

    def note_on_changes(self, rows: Sequence[int], baseline: bool) -> str:
        """A sentence where networks, run again, label images otherwise than when they were counted; else empty.

        Args:
            rows: Of the counts.
            baseline: Whether the baseline's were drawn too.
        """
        networks = [(self.best, self._predictor)]
        networks += [(self.baseline, self._baseline_predictor)] if baseline else []
        changed = [
            f"{trial.trial_id} on {self.counts.images[row]} in at least "
            f"{counted(predictor.changed_pixels(row), 'pixel')} of {int(self.counts.counts[row, :, :2].sum())}"
            for trial, predictor in networks
            for row in rows
            if predictor.changed_pixels(row)
        ]
        if not changed:
            return ""
        return (
            f"Run again for this figure, networks label images otherwise than when they were counted: "
            f"{'; '.join(changed)}. Other hardware or precision changes a few pixels; many mean that images or "
            "weights are not those of the record."
        )


def _counts(trial: RecordedTrial) -> ImageCounts:
    counts = trial.image_counts
    if counts is None:
        raise Unavailable(
            f"Images are chosen by what was counted on each, and the record of {trial.trial_id} has no counts by "
            "image, or damaged ones. Run `aerosweep sync` where the search's folder is."
        )
    return counts
