"""A paragraph for a paper that states the method of a recorded search; every number in it is of the record."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from analysis.findings.compared_pair import confirmed_sides
from analysis.findings.compared_side import Side
from analysis.recorded.recorded_search import RecordedSearch
from analysis.words.configuration_words import architecture_title, loss_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, listed, sentence, trimmed
from trainable.data.layout_registry import LAYOUTS
from trainable.measure.image_counts import ImageCounts

_STATES: Final = {
    "completed": "ran to the end",
    "pruned": "{were} stopped early",
    "diverged": "diverged",
    "failed": "failed",
    "running": "had not ended",
    "interrupted": "had not ended",
}

_IN_WORDS: Final = ("loss.name", "model.architecture")
"""Searched values that the paragraph lists by themselves."""


def method_paragraph(search: RecordedSearch, settings: Mapping[str, str] | None = None) -> str:
    """State the method; what is not known of the search is left out.

    Args:
        search: What was recorded.
        settings: The search config by flat key (`scheduler.grace_epochs`), values as text; None: those recorded.
    """
    known = search.settings if settings is None else settings
    if not search.trials:
        return ""
    sides = confirmed_sides(search)
    parts = [
        _trials(search),
        _space(search, known),
        _sampling(search, known),
        _training(search),
        _data(search, sides),
        _selection(search),
        _confirmation(search, sides),
        _metrics(search),
        _intervals(search, sides),
    ]
    return " ".join(filter(None, parts))


def _trials(search: RecordedSearch) -> str:
    """How many trials there were and how they ended."""
    states = Counter(_STATES.get(trial.state, trial.state) for trial in search.trials)
    parts = [f"{number} {state.format(were=_were(number))}" for state, number in states.items()]
    total = len(search.trials)
    if len(parts) == 1 and "completed" in {trial.state for trial in search.trials}:
        ended = ", which ran to the end" if total == 1 else ", all of which ran to the end"
        return f"The search trained {counted(total, 'trial')}{ended}."
    return f"The search trained {counted(total, 'trial')}: {listed(parts)}."


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _space(search: RecordedSearch, known: Mapping[str, str]) -> str:
    """What was tried."""
    configs = [trial.config for trial in search.trials]
    losses = _unique(loss_title(trial.loss) for trial in search.trials)
    models = _unique(architecture_title(config) for config in configs)
    encoders = _unique(str(config.get("model", {}).get("encoder", "?")) for config in configs)
    searched = _unique(key for trial in search.trials for key in trial.params if key not in _IN_WORDS)
    ranges = [f"{key}{_range(key, known)}" for key in searched if _varies(search, key)]
    return " ".join(
        [
            f"It tried the {_several(losses, 'loss', 'losses')} and the {_several(models, 'network', 'networks')}",
            f"with the {_several(encoders, 'encoder', 'encoders')}",
            f"and varied {listed(ranges)}." if ranges else "and varied nothing else.",
        ]
    )


def _several(names: Sequence[str], one: str, several: str) -> str:
    return f"{one if len(names) == 1 else several} {listed(names)}"


def _unique(values: Iterable[str]) -> list[str]:
    """In the order of first appearance."""
    return list(dict.fromkeys(values))


def _varies(search: RecordedSearch, key: str) -> bool:
    return len({str(trial.params[key]) for trial in search.trials if key in trial.params}) > 1


def _range(key: str, known: Mapping[str, str]) -> str:
    """` (.1 to 1)`, with its scale; empty where the range is not known."""
    low, high = known.get(f"space.{key}.low"), known.get(f"space.{key}.high")
    if low is None or high is None:
        return ""
    scale = ", logarithmic" if known.get(f"space.{key}.log", "").lower() == "true" else ""
    return f" ({low} to {high}{scale})"


def _sampling(search: RecordedSearch, known: Mapping[str, str]) -> str:
    """How points were suggested and trials stopped."""
    baselines = sum(trial.baseline for trial in search.trials)
    sampled = len(search.trials) - baselines
    first = f"{counted(baselines, 'baseline')} {_were(baselines)} enqueued and never stopped" if baselines else ""
    others = "the others" if baselines else "the points"
    tpe = f"{others} were suggested by Optuna's multivariate tree-structured Parzen estimator" if sampled else ""
    grace, factor = known.get("scheduler.grace_epochs"), known.get("scheduler.reduction_factor")
    asha = (
        "asynchronous successive halving stopped trials early "
        f"(first rung at {counted(int(grace), 'epoch')}, reduction factor {factor})"
        if sampled and grace is not None and grace.isdigit() and factor is not None
        else ""
    )
    return sentence("; ".join(filter(None, [first, tpe, asha]))) if first or tpe else ""


def _training(search: RecordedSearch) -> str:
    """What was the same in all trials."""
    configs = [trial.config for trial in search.trials]
    crop, batch = _common(configs, "data", "crop"), _common(configs, "data", "batch_size")
    weights = _common(configs, "model", "encoder_weights")
    origins = {"imagenet": " from an encoder pretrained on ImageNet", "none": " from random weights"}
    starts = origins.get(str(weights), "")
    crops = f" on crops of {crop} pixels" if crop else ""
    batches = f" in batches of {batch}" if batch else ""
    return (
        f"Networks were trained{starts} with AdamW under a cosine schedule with linear warm-up{crops}{batches}, for at "
        f"most {counted(search.max_epochs, 'epoch')}."
    )


def _common(configs: Sequence[Mapping[str, Any]], section: str, key: str) -> object | None:
    """The value that all configs share, or None."""
    values = {str(config.get(section, {}).get(key)) for config in configs}
    return next(iter(values)) if len(values) == 1 and values != {"None"} else None


def _data(search: RecordedSearch, sides: Sequence[Side]) -> str:
    """The image set, its classes, and the splits as far as they were measured."""
    dev = next((counts for trial in search.ranked if (counts := trial.image_counts) is not None), None)
    val = sides[0].runs[0] if sides else None
    counts = dev or val
    if counts is None:
        return ""
    things = [name for name, thing in zip(counts.class_names, counts.things, strict=True) if thing]
    kinds = f", of which {listed(things)} {_is(len(things))}" if things else ", none of them a thing"
    parts = [f"{_set_name(search)} has {_classes(len(counts.class_names))}{kinds}."]
    sizes = [f"{name} has {_size(split)}" for name, split in (("dev", dev), ("val", val)) if split is not None]
    apart = dev is not None and val is not None and not set(dev.scenes) & set(val.scenes)
    held = ", and the two share no scene" if apart else ""
    return " ".join([*parts, sentence(listed(sizes) + held)])


def _classes(number: int) -> str:
    return "1 class" if number == 1 else f"{number} classes"


def _is(number: int) -> str:
    return "is a thing" if number == 1 else "are things"


def _size(counts: ImageCounts) -> str:
    scenes, images = len(set(counts.scenes)), len(counts.images)
    return f"{counted(images, 'image')} of {counted(scenes, 'scene')}"


def _set_name(search: RecordedSearch) -> str:
    if search.dataset is None:
        return "The image set"
    if description := search.dataset.description:
        return f"The image set {description.stem if isinstance(description, Path) else description.name}"
    return LAYOUTS[search.dataset.layout].title


def _selection(search: RecordedSearch) -> str:
    first = metric_title(search.objectives[0])
    rest = listed([metric_title(name) for name in search.objectives[1:]])
    several = f"; the search also optimised {rest}" if rest else ""
    return f"Epochs and trials were chosen by {first} on dev{several}."


def _confirmation(search: RecordedSearch, sides: Sequence[Side]) -> str:
    """How the configurations were confirmed, or that none was."""
    if not sides:
        return "No configuration was confirmed: each was trained once, and is ranked on the split that it was tuned on."
    seeds, epochs = sorted({len(side.runs) for side in sides}), sorted({side.epochs for side in sides})
    number = len(sides)
    what = "One configuration was" if number == 1 else f"{number} configurations were"
    each = " each" if number > 1 else ""
    return (
        f"{what} trained anew from {_span(seeds, 'fresh seed')}{each} for {_span(epochs, 'epoch')}, without early "
        "stopping; dev chose the epoch, and its weights were measured on val once."
    )


def _span(values: Sequence[int], noun: str) -> str:
    return counted(values[0], noun) if len(values) == 1 else f"{values[0]} to {counted(values[-1], noun)}"


def _metrics(search: RecordedSearch) -> str:
    """Definitions."""
    pixels = _common([trial.config for trial in search.trials], "evaluation", "min_object_pixels")
    least = f" of at least {counted(int(str(pixels)), 'pixel')}" if pixels else ""
    counts = next((c for trial in search.ranked if (c := trial.image_counts) is not None), None)
    objects = (
        f" An object is an 8-connected component of a thing class{least}; it is missed where less than half of its "
        "pixels are predicted as its class, and a predicted one that shares no pixel with a true object of its class "
        "is a false alarm."
    )
    of_things = objects if counts is None or counts.things.any() else ""
    return f"mIoU is the mean IoU over the classes that occur in a split, counted over all of its pixels.{of_things}"


def _intervals(search: RecordedSearch, sides: Sequence[Side]) -> str:
    """How differences were judged; empty where none was."""
    if len(sides) < 2 or math.isnan(search.relevant_gain):
        return ""
    return (
        "Differences are of means over seeds, with 95 % intervals at Welch-Satterthwaite degrees of freedom: the "
        "variance over paired scenes is the larger of a bootstrap's and the jackknife's, and the variance over "
        "unpaired seeds is added. A gain is called supported where the whole interval is better than no difference, "
        f"and not supported where a gain of {trimmed(search.relevant_gain, 4)} or more is excluded or the whole "
        "interval is worse."
    )
