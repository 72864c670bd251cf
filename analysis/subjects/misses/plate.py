"""Plates of objects: what finding more of them costs, and which of them each loss misses, on dev and on val."""

from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from analysis.evidence.confirmation import ConfirmedTrial
from analysis.recorded.confirmed_search import confirmed_trials
from analysis.recorded.recorded_search import RecordedSearch
from analysis.subjects.misses.figure import draw_missed
from analysis.subjects.misses.sentences import describe_missed
from analysis.subjects.misses.table import CountedNetwork, average_over_seeds, same_objects, tabulate_missed
from analysis.subjects.plate import Plate, Unavailable
from analysis.subjects.trade_off.plate import NO_THINGS, require_things
from analysis.words.configuration_words import loss_title
from analysis.words.gain_words import metric_title
from analysis.words.number_words import counted, listed, short
from trainable.config.sections import EvaluationConfig

MISSED: Final = "Missed objects and false alarms"
CONFIRMED: Final = "Missed objects and false alarms, confirmed on val"

_COUNTED: Final = (
    "an object counts as missed where less than half of its pixels are predicted as its class, and a predicted one as "
    "a false alarm where it shares no pixel with a true one of its class; objects below {} pixels do not count"
)


def missed_plate(search: RecordedSearch) -> Plate:
    """Make the plate of missed objects and false alarms of the best trial of each loss, on dev.

    Raises:
        Unavailable: There are no things, no objects, or no trial has recorded counts.
    """
    require_things(search)
    best = search.best_of_each_loss()
    networks = _comparable(
        [
            CountedNetwork(loss=loss, trial_id=trial.trial_id, run_id=trial.run_id, epochs=trial.epochs, counts=counts)
            for loss, trial in best.items()
            if (counts := trial.image_counts) is not None
        ]
    )
    frame = tabulate_missed(networks, _least(search))
    names = {network.loss: _legend(network, search.max_epochs) for network in networks}
    aside = [f"{trial.trial_id} ({loss_title(loss)})" for loss, trial in best.items() if loss not in names]
    left_out = f"; left out for want of comparable counts: {listed(aside)}" if aside else ""
    return Plate(
        key="missed_objects",
        title=MISSED,
        shows=(
            f"For the best trial of each loss by {metric_title(search.objectives[0])} on dev ({_images(networks)}), "
            "the share of the true objects that it misses, with Wilson's 95 % intervals, and its false alarms an "
            f"image, by class and by size; {_COUNTED.format(_least(search))}{left_out}."
        ),
        says=describe_missed(networks, search.max_epochs, "dev"),
        alt=_alt(frame, names),
        table=frame,
        draw=lambda palette: draw_missed(frame, names, "lines: Wilson's 95 % intervals, objects taken as independent"),
    )


def confirmed_plate(search: RecordedSearch) -> Plate:
    """Make the plate of missed objects and false alarms over fresh seeds, on val.

    Raises:
        Unavailable: There are no things, no objects, or no run has been measured on val.
    """
    require_things(search)
    best: dict[str, ConfirmedTrial] = {}
    for trial in confirmed_trials(search):
        best.setdefault(trial.loss, trial)
    networks = _comparable(
        [
            CountedNetwork(loss=loss, trial_id=trial.trial, run_id=run_id, epochs=trial.epochs, counts=counts)
            for loss, trial in best.items()
            for run_id, counts in zip(trial.run_ids, trial.runs, strict=True)
        ]
    )
    frame = average_over_seeds(tabulate_missed(networks, _least(search)))
    names = {
        network.loss: f"{_legend(network, search.max_epochs)}, {counted(len(best[network.loss].runs), 'seed')}"
        for network in networks
    }
    return Plate(
        key="missed_objects_confirmed",
        title=CONFIRMED,
        shows=(
            f"For the best confirmed configuration of each loss by {metric_title(search.objectives[0])} on dev, "
            f"trained again from fresh seeds and measured on val ({_images(networks)}), the share of the true objects "
            "that it misses and its false alarms an image, by class and by size, as means over seeds with lines from "
            f"the least to the greatest; {_COUNTED.format(_least(search))}."
        ),
        says=describe_missed(networks, search.max_epochs, "val"),
        alt=_alt(frame, names),
        table=frame,
        draw=lambda palette: draw_missed(frame, names, "markers: means over seeds; lines: least to greatest seed"),
    )


def _comparable(networks: Sequence[CountedNetwork]) -> list[CountedNetwork]:
    """The networks that saw the same objects as the first.

    Raises:
        Unavailable: There are no networks, or no objects.
    """
    if not networks:
        raise Unavailable("No run that ended has recorded counts of objects. Let one end, or run `aerosweep sync`.")
    first = networks[0].counts
    if not first.things.any():
        raise Unavailable(NO_THINGS)
    if not first.sized_objects[..., 0].any():
        raise Unavailable(
            "The split has no object of a thing class that is large enough to count. Split the images otherwise, or "
            "lower evaluation.min_object_pixels."
        )
    return [network for network in networks if same_objects(network.counts, first)]


def _least(search: RecordedSearch) -> int:
    """The least pixels of an object."""
    default = EvaluationConfig().min_object_pixels
    return int(search.trials[0].config.get("evaluation", {}).get("min_object_pixels", default))


def _images(networks: Sequence[CountedNetwork]) -> str:
    return counted(len(networks[0].counts.images), "image")


def _legend(network: CountedNetwork, full_epochs: int) -> str:
    early = f" of {full_epochs}" if network.epochs < full_epochs else ""
    return f"{loss_title(network.loss)}: {network.trial_id}, {network.epochs}{early} epochs"


def _alt(frame: pd.DataFrame, names: Mapping[str, str]) -> str:
    parts = []
    for loss, name in names.items():
        rows = frame[frame["loss"] == loss]
        total, sizes = rows[rows["by"] == "all"].iloc[0], rows[(rows["by"] == "size") & (rows["objects"] > 0)]
        by_size = ", ".join(
            f"{group} {100 * rate:.0f} %" for group, rate in zip(sizes["group"], sizes["miss_rate"], strict=True)
        )
        parts.append(
            f"{name}: misses {100 * total['miss_rate']:.0f} % of {total['objects']} objects (by size in pixels: "
            f"{by_size}), {short(total['false_alarms_per_image'], 2)} false alarms an image."
        )
    return "Dot plots, classes and sizes down, miss rate and false alarms an image across. " + " ".join(parts)
