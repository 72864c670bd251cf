"""Row shares, differences and flows against loops over single pixels."""

from collections import Counter

import numpy as np
import pytest

from analysis.subjects.confusion.table import tabulate_confusion, tabulate_matrix_difference
from analysis.subjects.misclassified.table import ALL, THINGS, tabulate_misclassified
from trainable.data.image_set import LabelClass

CLASSES = (
    LabelClass("road", (0, 0, 0), False),
    LabelClass("person", (1, 0, 0), True),
    LabelClass("boat", (2, 0, 0), True),
    LabelClass("bike", (3, 0, 0), True),
)
NAMES = [entry.name for entry in CLASSES]


@pytest.fixture
def predictions():
    """True labels of 500 pixels, without a boat, and what two networks say."""
    generator = np.random.default_rng(11)
    true = generator.choice([0, 1, 3], 500, p=[0.85, 0.1, 0.05])
    networks = [np.where(generator.random(500) < right, true, generator.integers(0, 4, 500)) for right in (0.8, 0.4)]
    return true, *networks


def matrix_of(true, predicted):
    matrix = np.zeros((4, 4), dtype=np.int64)
    np.add.at(matrix, (true, predicted), 1)
    return matrix


def test_shares_and_differences(predictions):
    true, best, baseline = predictions
    frame = tabulate_matrix_difference(matrix_of(true, best), matrix_of(true, baseline), CLASSES)

    for row in frame.to_dict("records"):
        mine = [place for place, label in enumerate(true) if NAMES[label] == row["true"]]
        assert row["true_pixels"] == len(mine)
        hits = [sum(NAMES[network[place]] == row["predicted"] for place in mine) for network in (best, baseline)]
        assert [row["pixels_best"], row["pixels_baseline"]] == hits
        if mine:
            assert row["difference"] == pytest.approx((hits[0] - hits[1]) / len(mine), abs=1e-12)
        else:
            assert np.isnan(row["difference"])
    assert tabulate_confusion(matrix_of(true, best), CLASSES)["pixels"].sum() == 500


def test_flows(predictions):
    true, best, _ = predictions
    frame = tabulate_misclassified(matrix_of(true, best), CLASSES)
    wrong = Counter((NAMES[t], NAMES[p]) for t, p in zip(true, best, strict=True) if t != p)
    for panel, kept in ((ALL, NAMES), (THINGS, NAMES[1:])):
        expected = {pair: count for pair, count in wrong.items() if pair[0] in kept}
        rows = frame[frame["panel"] == panel]
        assert {(row["true"], row["predicted"]): row["pixels"] for row in rows.to_dict("records")} == expected
        assert rows["share"].tolist() == pytest.approx((rows["pixels"] / sum(expected.values())).tolist())
