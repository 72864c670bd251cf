"""Miss rates and their intervals against SciPy and against plain loops."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.subjects.misses.table import CountedNetwork, tabulate_missed, wilson_interval
from trainable.measure.image_counts import ImageCounts
from trainable.measure.object_errors import SIZE_EDGES


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (3, 17), (16, 17), (204, 212), (130, 212)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_wilsons(hits, trials, confidence):
    known = binomtest(hits, trials).proportion_ci(confidence, method="wilson")
    assert wilson_interval(hits, trials, confidence) == pytest.approx((known.low, known.high), abs=1e-12)


def test_there_is_no_interval_of_no_objects():
    assert all(math.isnan(end) for end in wilson_interval(0, 0))


def random_counts(seed):
    generator = np.random.default_rng(seed)
    things = np.array([False, True, True])
    sized = np.zeros((7, 3, len(SIZE_EDGES), 3), dtype=np.int64)
    sized[:, 1:, 1:6, 0] = generator.integers(0, 5, (7, 2, 5))
    sized[..., 1] = generator.integers(0, 5, sized.shape[:3]).clip(max=sized[..., 0])
    sized[:, 1:, 1:, 2] = generator.integers(0, 3, (7, 2, len(SIZE_EDGES) - 1))
    return ImageCounts(
        images=tuple(f"i{n}" for n in range(7)), scenes=tuple("aabbccc"), class_names=("road", "person", "bike"),
        class_colors=np.zeros((3, 3), np.uint8), things=things, counts=np.zeros((7, 3, 3), np.int64),
        sized_objects=sized,
    )  # fmt: skip


def test_every_group_is_the_sum_over_its_images_classes_and_sizes():
    counts = random_counts(3)
    network = CountedNetwork(loss="dice", trial_id="t0001", run_id="r1", epochs=6, counts=counts)
    things = {"person": 1, "bike": 2}
    titles = ["4-15", "16-63", "64-255", "256-1023", "1024-4095", "4096-16383", "≥ 16384"]
    cells = {("all", "all things"): [(c, b) for c in (1, 2) for b in range(8)]}
    cells |= {("class", name): [(c, b) for b in range(8)] for name, c in things.items()}
    # No bin of 1 to 3 pixels: smaller objects than 4 are none.
    cells |= {("size", title): [(c, place + 1) for c in (1, 2)] for place, title in enumerate(titles)}
    frame = tabulate_missed([network], 4).set_index(["by", "group"])
    assert list(frame.index) == list(cells)
    for key, members in cells.items():
        sums = [0, 0, 0]
        for image in range(7):
            for label, size in members:
                for kind in range(3):
                    sums[kind] += int(counts.sized_objects[image, label, size, kind])
        row = frame.loc[key]
        assert [row["objects"], row["missed"], row["false_alarms"]] == sums
        assert row["false_alarms_per_image"] == pytest.approx(sums[2] / 7)
        if sums[0]:
            assert row["miss_rate"] == sums[1] / sums[0]
            assert (row["low"], row["high"]) == wilson_interval(sums[1], sums[0])
        else:
            assert math.isnan(row["miss_rate"])
    assert frame["objects"].loc[("size", "4096-16383")] == 0
