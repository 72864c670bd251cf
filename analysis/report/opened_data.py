"""The images of a recorded search, where they can still be found."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from analysis.recorded.recorded_search import RecordedSearch
from trainable.data.files.cache_dir import default_cache_dir
from trainable.data.image_cache import Progress
from trainable.data.trial_data import TrialData, open_trial_data
from trainable.errors import InputError

_REMEDY: Final = "Give the folder of the images with --root"


def open_data(
    search: RecordedSearch,
    root: Path | str | None,
    on_decode: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[TrialData | None, str]:
    """Open the image set that a search learned from.

    Args:
        search: The search.
        root: Where the images are now, a path or a URL, or None for where they were.
        on_decode: Called with (images done, images in all) while a cache is built.
        say: Prints a line for the user when they are copied from elsewhere.

    Returns:
        The data, or None and the reason: they have moved, cannot be read, or are not those that the search saw.
    """
    if search.dataset is None:
        return None, "the search has recorded no trial, and so no image set"
    try:
        dataset = search.dataset if root is None else search.dataset.at(root)
        data = open_trial_data(dataset, _cache_dir(search), on_decode, say)
    except (InputError, OSError) as error:
        return None, f"the image set of the search cannot be read here: {error}. {_REMEDY}"
    if search.data_fingerprint and data.cache.fingerprint != search.data_fingerprint:
        return None, (
            f"the images are not those that the search saw: their fingerprint is {data.cache.fingerprint[:12]}, "
            f"the search recorded {search.data_fingerprint[:12]}. {_REMEDY} that has the original ones"
        )
    return data, ""


def _cache_dir(search: RecordedSearch) -> Path:
    """Where the search kept decoded images, if that is a folder here too."""
    recorded = search.settings.get("resources.cache_dir")
    return Path(recorded) if recorded and Path(recorded).is_dir() else default_cache_dir()
