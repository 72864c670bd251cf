"""The figures of a data set, for a report of it alone and for that of a search."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from analysis.evidence.mask_statistics import MaskStatistics, count_cached_masks, count_masks
from analysis.report.document import Document, MissingPlate, Section
from analysis.report.figures import data_plates
from analysis.report.gather import gather
from analysis.words.number_words import sentence
from trainable.data.dataset_config import DatasetConfig
from trainable.data.image_cache import Progress
from trainable.data.image_set import ImageSet
from trainable.data.read_image_set import read_image_set
from trainable.data.scene_split import SplitAssignment, assign_splits
from trainable.data.trial_data import TrialData

_KEY: Final = "data"
_TITLE: Final = "The images"
_INTRO: Final = (
    "Where the rare classes are before anything is learned: how few their pixels, how many images have them."
)


def data_section(data: TrialData) -> Section:
    """The figures of the image set that a search learned from."""
    statistics = count_cached_masks(data.image_set, data.cache)
    return _section(data.image_set, statistics, data.splits)


def missing_data_section(why: str) -> Section:
    """The place of these figures, where the images cannot be read.

    Args:
        why: Without a full stop.
    """
    return Section(_KEY, _TITLE, _INTRO, [MissingPlate("Figures of the images", sentence(why))])


def compose_dataset_report(
    config: DatasetConfig,
    cache_dir: Path,
    on_progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Document:
    """The report of an image set alone; only its masks are decoded, and no cache is written.

    Args:
        config: Which set; its paths are absolute.
        cache_dir: Where a synthetic set is made, or a copy.
        on_progress: Called with (masks read, masks in all).
        say: Prints a line for the user when the set is copied from elsewhere.

    Raises:
        InputError: The set cannot be read.
    """
    image_set = read_image_set(config, cache_dir, say)
    statistics = count_masks(image_set, on_progress)
    splits = assign_splits(image_set, statistics.pixel_counts, config.dev_share, config.dev_seed)
    return Document(
        title=f"{image_set.name}: {len(image_set)} images",
        facts=_facts(image_set, splits),
        notes=[*image_set.warnings, *splits.warnings],
        sections=[_section(image_set, statistics, splits)],
    )


def _section(image_set: ImageSet, statistics: MaskStatistics, splits: SplitAssignment) -> Section:
    return Section(_KEY, _TITLE, _INTRO, gather(data_plates(image_set, statistics, splits)))


def _facts(image_set: ImageSet, splits: SplitAssignment) -> list[tuple[str, str]]:
    things = [entry.name for entry in image_set.classes if entry.thing]
    of_splits = (("train", splits.train), ("dev", splits.dev), ("val", splits.val))
    scenes = [f"{len({image_set.samples[i].scene for i in rows})} {name}" for name, rows in of_splits]
    return [
        ("Images", ", ".join(f"{len(rows)} {name}" for name, rows in of_splits)),
        ("Scenes", ", ".join(scenes)),
        ("Classes", f"{len(image_set.classes)}, of them things: {', '.join(things) or 'none'}"),
    ]
