"""Predictions beside the truth on dev images chosen by rule: the best, the worst, and where two networks differ."""

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np
import pandas as pd

from analysis.recorded.recorded_search import RecordedTrial
from analysis.subjects.cases.figure import draw_cases
from analysis.subjects.cases.sentences import describe_difference, describe_images, tabulate_cases
from analysis.subjects.cases.table import best_images, finding_images, image_mious, worst_images
from analysis.subjects.cases.trials import CaseTrials
from analysis.subjects.plate import Plate, Unavailable
from analysis.words.configuration_words import configuration_words
from analysis.words.number_words import counted
from trainable.data.trial_data import TrialData
from trainable.errors import InputError
from trainable.measure.image_counts import ImageCounts

T = TypeVar("T")

IMAGES: Final = 2
"""Cases in a figure."""

_COLORED: Final = "coloured panels show labels over the grey image, which stays grey where nothing is labelled"


def case_plates(
    best: RecordedTrial | None, baseline: RecordedTrial | None, data: TrialData | None, why_no_data: str = ""
) -> list[tuple[str, Callable[[], Plate]]]:
    """The plates of predictions by title, each made when it is called; it raises `Unavailable` where it cannot be.

    Args:
        best: The best trial; None where no trial has ended.
        baseline: What it is compared with, the best baseline; None where there is none.
        data: The image set, or None where it cannot be read.
        why_no_data: Why not.
    """
    trials = CaseTrials(best, baseline, data, why_no_data)
    return [
        (_extreme_title("best"), lambda: _extreme_plate(trials, best=True)),
        (_extreme_title("worst"), lambda: _extreme_plate(trials, best=False)),
        (_difference_title("best trial", "baseline"), lambda: _difference_plate(trials, found=True)),
        (_difference_title("baseline", "best trial"), lambda: _difference_plate(trials, found=False)),
    ]


def _extreme_title(kind: str) -> str:
    return f"Dev images that the best trial segments {kind}"


def _difference_title(finder: str, misser: str) -> str:
    return f"Objects that the {finder} finds and the {misser} misses"


def _extreme_plate(trials: CaseTrials, best: bool) -> Plate:
    """The best or the worst images."""
    counts, kind = trials.counts, "best" if best else "worst"
    rows = _extreme_rows(counts, best)
    cases = _drawn(lambda: [trials.whole(row) for row in rows])
    name = f"{trials.best.trial_id} ({configuration_words(trials.best.config)})"
    table = tabulate_cases(trials.best, counts, rows)
    return Plate(
        key=f"cases_{kind}",
        title=_extreme_title(kind),
        shows=(
            f"The dev images with the {'highest' if best else 'lowest'} mIoU of their own, the mean IoU over the "
            f"classes that occur in that image, at most one a scene ({_scenes(counts)}): the image, its "
            f"true labels and what {name} predicts; {_COLORED}."
        ),
        says=_joined(describe_images(counts), trials.note_on_changes(rows, baseline=False)),
        alt=f"Photographs in {counted(len(rows), 'row')}: image, true labels, prediction of {name}. {_ious(table)}",
        table=table,
        draw=lambda palette: draw_cases(cases, counts.classes, palette),
        shows_classes=True,
        photographs=True,
    )


def _extreme_rows(counts: ImageCounts, best: bool) -> tuple[int, ...]:
    """The best images, or the worst of the others.

    Raises:
        Unavailable: There are none.
    """
    highest = best_images(counts, IMAGES)
    if not highest:
        labelled = f"none of the {counted(len(counts.images), 'dev image')} has a labelled pixel"
        raise Unavailable(f"Dev images are chosen by their own mIoU, and {labelled}.")
    lowest = worst_images(counts, IMAGES, leave_out=highest)
    if not best and not lowest:
        few = counted(int((~np.isnan(image_mious(counts))).sum()), "labelled image")
        raise Unavailable(f"The worst dev images are others than the best, and dev, of {few}, has none beside those.")
    return highest if best else lowest


def _scenes(counts: ImageCounts) -> str:
    return f"dev has {len(set(counts.scenes))}"


def _drawn(make: Callable[[], list[T]]) -> list[T]:
    try:
        return make()
    except InputError as error:
        raise Unavailable(f"Predictions cannot be drawn: {error}") from error


def _joined(*sentences: str) -> str:
    return " ".join(filter(None, sentences))


def _ious(table: pd.DataFrame) -> str:
    """The IoU of each class in each image, in words."""
    parts = []
    for image, rows in table.dropna(subset=["iou"]).groupby("image", sort=False):
        ious = ", ".join(f"{name} {iou:.2f}" for name, iou in zip(rows["class"], rows["iou"], strict=True))
        parts.append(f"{image}: mIoU {rows['miou'].iloc[0]:.3f}; IoU of {ious}.")
    return " ".join(parts)


def _difference_plate(trials: CaseTrials, found: bool) -> Plate:
    """Objects that the best trial finds and the baseline misses, or the reverse."""
    sides = [(trials.best, trials.counts), (trials.baseline, trials.baseline_counts)]
    (finder, by_finder), (misser, by_misser) = sides if found else sides[::-1]
    rows = _difference_rows(finder.trial_id, by_finder, misser.trial_id, by_misser)
    pictures = _drawn(lambda: [trials.difference(row, found) for row in rows])
    note = trials.note_on_changes(rows, baseline=True)
    drawn = [row for row, picture in zip(rows, pictures, strict=True) if picture is not None]
    cases = [picture for picture in pictures if picture is not None]
    if not cases:
        raise Unavailable(f"The predictions made here have no such object as was counted. {note}")
    one, other = ("best trial", "baseline") if found else ("baseline", "best trial")
    who, whom = (f"{trial.trial_id} ({configuration_words(trial.config)})" for trial in (finder, misser))
    return Plate(
        key="cases_found" if found else "cases_lost",
        title=_difference_title(one, other),
        shows=(
            f"The dev images with the most thing objects that the {one}, {who}, finds (at least half of an object's "
            f"pixels are predicted as its class) and the {other}, {whom}, misses, at most one a scene "
            f"({_scenes(by_finder)}): solid boxes mark these objects, and the part in the dashed frame, around the "
            f"largest of them, is enlarged below with how much of that object is right; {_COLORED}."
        ),
        says=_joined(describe_difference(finder.trial_id, by_finder, misser.trial_id, by_misser), note),
        alt=(
            f"Photographs of {counted(len(cases), 'image')}, each whole and below it in part: image, true labels, "
            f"prediction of the baseline, of the best trial. {' '.join(f'{case.heading}.' for case in cases)}"
        ),
        table=pd.concat([tabulate_cases(trial, counts, drawn) for trial, counts in sides], ignore_index=True),
        draw=lambda palette: draw_cases(cases, by_finder.classes, palette),
        shows_classes=True,
        photographs=True,
    )


def _difference_rows(finder: str, by_finder: ImageCounts, misser: str, by_misser: ImageCounts) -> tuple[int, ...]:
    """The images with the most such objects.

    Raises:
        Unavailable: There are none, or the two cannot be compared.
    """
    try:
        rows = finding_images(by_finder, by_misser, IMAGES)
    except ValueError as error:
        raise Unavailable(f"{finder} and {misser} cannot be compared: {error}") from error
    objects, images = int(by_finder.objects[..., 0].sum()), counted(len(by_finder.images), "dev image")
    if not objects:
        raise Unavailable(f"Objects are those of thing classes, and {images} have none. Look at the IoU of classes.")
    if not rows:
        raise Unavailable(
            f"Of {counted(objects, 'object')} in {images} the counts show none that {finder} finds and {misser} misses."
        )
    return rows
