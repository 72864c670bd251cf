"""Which objects networks miss: bins, seeds, and what is said of two losses."""

import math
from dataclasses import replace

import numpy as np
import pytest

from analysis.subjects.misses.sentences import compared, describe_missed
from analysis.subjects.misses.table import (
    CountedNetwork,
    average_over_seeds,
    same_objects,
    size_titles,
    tabulate_missed,
)
from trainable.data.image_set import LabelClass
from trainable.measure.image_counts import ImageCounts

CLASSES = (LabelClass("road", (1, 2, 3), False), LabelClass("person", (255, 0, 0), True))


def network(loss, missed, alarms=0, objects=40, size=2, epochs=6, run="r", images=4):
    """Of persons in one bin of size, all in the first image."""
    sized = np.zeros((images, 2, 8, 3), dtype=np.int64)
    sized[0, 1, size] = objects, missed, 0
    sized[1, 1, 5, 2] = alarms
    counts = ImageCounts(
        images=tuple(f"i{n}" for n in range(images)), scenes=("s",) * images, class_names=("road", "person"),
        class_colors=np.zeros((2, 3), np.uint8), things=np.array([False, True]),
        counts=np.zeros((images, 2, 3), np.int64), sized_objects=sized,
    )  # fmt: skip
    trial = {"tversky": "t0004", "cross_entropy": "t0000", "dice": "t0002"}[loss]
    return CountedNetwork(loss=loss, trial_id=trial, run_id=run, epochs=epochs, counts=counts)


def test_bins_begin_where_objects_do():
    assert size_titles(1)[:2] == [(0, "1-3"), (1, "4-15")]
    assert size_titles(10)[:2] == [(1, "10-15"), (2, "16-63")]
    assert size_titles(16)[0] == (2, "16-63")
    assert size_titles(20000) == [(7, "≥ 20000")]
    assert len(size_titles(4)) == 7


def test_a_class_or_bin_without_objects_has_no_miss_rate():
    frame = tabulate_missed([network("dice", 3)], 4)
    empty = frame[frame["group"] == "4-15"].iloc[0]
    assert empty["objects"] == 0
    assert math.isnan(empty["miss_rate"])
    assert math.isnan(empty["low"])


def test_the_largest_sizes_that_nothing_has_are_left_out():
    """An object or a false alarm of any network keeps a size, and all below it."""
    frame = tabulate_missed([network("dice", 3), network("tversky", 3, size=4)], 4)
    assert frame.loc[frame["by"] == "size", "group"].tolist() == 2 * ["4-15", "16-63", "64-255", "256-1023"]
    nothing = tabulate_missed([network("dice", 0, objects=0)], 4)
    assert nothing.loc[nothing["by"] == "size", "group"].tolist() == ["4-15"]


def test_seeds_are_averaged_with_their_range():
    seeds = [
        network("dice", missed, alarms, run=run) for missed, alarms, run in ((10, 2, "a"), (16, 8, "b"), (34, 5, "c"))
    ]
    rows = average_over_seeds(tabulate_missed(seeds, 4))
    row = rows[rows["by"] == "all"].iloc[0]
    assert (row["objects"], row["missed"], row["seeds"], row["run_id"]) == (40, 20, 3, "a;b;c")
    assert (row["miss_rate"], row["low"], row["high"]) == pytest.approx((0.5, 0.25, 0.85))
    ends = ("false_alarms_per_image", "false_alarms_low", "false_alarms_high")
    assert tuple(row[name] for name in ends) == pytest.approx((1.25, 0.5, 2.0))
    assert list(rows["by"]) == ["all", "class"] + ["size"] * 5


def test_only_the_same_objects_are_compared():
    one = network("dice", 3).counts
    assert same_objects(one, network("tversky", 30, 7).counts)
    assert not same_objects(one, network("dice", 3, objects=41).counts)
    assert not same_objects(one, network("dice", 3, images=5).counts)


def test_the_best_is_compared_with_cross_entropy_or_the_next():
    assert compared(["tversky", "dice", "cross_entropy"]) == ("tversky", "cross_entropy")
    assert compared(["cross_entropy", "dice", "tversky"]) == ("cross_entropy", "dice")
    assert compared(["tversky", "dice"]) == ("tversky", "dice")
    assert compared(["tversky"]) is None


def test_a_difference_beyond_the_intervals_is_said_with_its_price():
    said = describe_missed([network("tversky", 10, 9), network("dice", 12), network("cross_entropy", 38, 3)], 6, "dev")
    assert said == (
        "Objects under 64 pixels on dev: cross entropy (t0000) misses 95 % (83 to 99 %) of 40, Tversky (t0004) 25 % "
        "(14 to 40 %); Tversky has 1.5 more false alarms an image. Objects of one image are not independent, so these "
        "95 % intervals are too narrow."
    )


def test_small_objects_are_larger_where_those_are_too_few():
    few = [network("tversky", 1, size=2, objects=19), network("cross_entropy", 19, size=2, objects=19)]
    assert describe_missed(few, 6, "dev") == ""
    larger = [network("tversky", 1, size=3), network("cross_entropy", 39, size=3)]
    assert describe_missed(larger, 6, "dev").startswith("Objects under 256 pixels on dev: ")
    large = [network("tversky", 1, size=5), network("cross_entropy", 39, size=5)]
    assert describe_missed(large, 6, "dev") == ""


@pytest.mark.parametrize("missed", [(20, 26), (40, 40), (0, 0)])
def test_intervals_that_meet_support_nothing(missed):
    sides = [network("tversky", missed[0]), network("cross_entropy", missed[1])]
    assert describe_missed(sides, 6, "dev") == ""


def test_a_network_that_was_stopped_early_is_not_compared():
    sides = [network("tversky", 1), network("cross_entropy", 39)]
    assert describe_missed(sides, 6, "dev") != ""
    assert describe_missed([sides[0], replace(sides[1], epochs=5)], 6, "dev") == ""


def test_over_seeds_the_ranges_must_be_apart_too():
    tversky = [network("tversky", missed) for missed in (2, 4, 6)]
    said = describe_missed([*tversky, *(network("cross_entropy", missed) for missed in (30, 36, 39))], 6, "val")
    assert said.startswith("Objects under 64 pixels on val, means over seeds: cross entropy (t0000) misses 88 % (")
    assert "of 40, Tversky (t0004) 10 % (" in said
    assert describe_missed([*tversky, *(network("cross_entropy", missed) for missed in (5, 36, 39))], 6, "val") == ""
