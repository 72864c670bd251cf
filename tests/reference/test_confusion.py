"""The confusion matrix and its metrics against naive loops and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_jaccard_index,
    multiclass_precision,
    multiclass_recall,
)

from trainable.confusion import class_metrics, confusion_matrices, confusion_matrix, outcome_counts

IGNORED = 255
C = 5


def naive_matrix(prediction, target, ignore_index):
    matrix = np.zeros((C, C), dtype=np.int64)
    for predicted, true in zip(prediction.flatten().tolist(), target.flatten().tolist(), strict=True):
        if true != ignore_index:
            matrix[true, predicted] += 1
    return matrix


@pytest.fixture
def labels():
    """Predictions and truths (3, 7, 9): class 4 never true but predicted, class 3 true but never predicted."""
    generator = torch.Generator().manual_seed(3)
    target = torch.randint(0, 4, (3, 7, 9), generator=generator)
    prediction = torch.where(torch.rand(3, 7, 9, generator=generator) < 0.6, target, 4).remainder(5)
    prediction[prediction == 3] = 1
    target[torch.rand(3, 7, 9, generator=generator) < 0.2] = IGNORED
    return prediction, target


def test_matrix_matches_the_naive_loop_and_torchmetrics(labels):
    matrix = confusion_matrix(*labels, C, IGNORED)
    assert matrix.dtype == torch.int64
    np.testing.assert_array_equal(matrix, naive_matrix(*labels, IGNORED))
    assert torch.equal(matrix, multiclass_confusion_matrix(*labels, C, ignore_index=IGNORED))


def test_rows_are_true_and_columns_predicted():
    matrix = confusion_matrix(torch.tensor([[[1, 1, 0]]]), torch.tensor([[[0, 0, 2]]]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_outcome_counts_of_each_image_match_the_naive_loop(labels):
    counts = outcome_counts(confusion_matrices(*labels, C, IGNORED))
    assert counts.dtype == torch.int64
    assert counts.shape == (3, C, 3)
    for image, (prediction, target) in enumerate(zip(*labels, strict=True)):
        matrix = naive_matrix(prediction, target, IGNORED)
        for c in range(C):
            others = [label for label in range(C) if label != c]
            assert counts[image, c].tolist() == [matrix[c, c], matrix[c, others].sum(), matrix[others, c].sum()]


def test_metrics_match_torchmetrics(labels):
    metrics = class_metrics(confusion_matrix(*labels, C, IGNORED).numpy())
    settings = {"num_classes": C, "average": None, "ignore_index": IGNORED}
    present = [0, 1, 2, 3]
    for values, reference in (
        (metrics.iou, multiclass_jaccard_index),
        (metrics.recall, multiclass_recall),
        (metrics.precision, multiclass_precision),
    ):
        expected = reference(*labels, **settings).numpy()[present]
        np.testing.assert_allclose(np.nan_to_num(values[present]), expected, rtol=1e-6)
        assert values.dtype == np.float64
        assert math.isnan(values[4])
    assert math.isnan(metrics.precision[3])  # true, but never predicted
    assert metrics.iou[3] == metrics.recall[3] == 0
    expected = multiclass_accuracy(*labels, num_classes=C, average="micro", ignore_index=IGNORED).item()
    assert metrics.pixel_accuracy == pytest.approx(expected, rel=1e-6)


def test_means_leave_out_what_never_occurs_in_the_truth():
    metrics = class_metrics([[6, 2, 0, 1], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(metrics.iou, [6 / 10, 3 / 6, np.nan, np.nan])
    np.testing.assert_allclose(metrics.recall, [6 / 9, 3 / 4, np.nan, np.nan])
    np.testing.assert_allclose(metrics.precision, [6 / 7, 3 / 5, np.nan, np.nan])
    assert metrics.left_out == (2, 3)
    assert metrics.mean_iou == pytest.approx((6 / 10 + 3 / 6) / 2)
    assert metrics.worst_class_iou == pytest.approx(3 / 6)
    assert metrics.thing_miou([0, 3]) == pytest.approx(6 / 10)
    assert metrics.pixel_accuracy == pytest.approx(9 / 13)


def test_metrics_of_nothing_are_nan():
    metrics = class_metrics(np.zeros((3, 3), dtype=int))
    assert metrics.left_out == (0, 1, 2)
    for value in (metrics.mean_iou, metrics.worst_class_iou, metrics.pixel_accuracy):
        assert math.isnan(value)
    for mean in (metrics.thing_miou, metrics.thing_recall, metrics.thing_precision):
        assert math.isnan(mean([1]))
    assert math.isnan(class_metrics(np.eye(3, dtype=int)).thing_miou([]))


def test_means_over_things_count_an_occurring_class_that_is_never_predicted_as_zero():
    metrics = class_metrics([[6, 2, 0, 1], [1, 3, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
    assert metrics.thing_recall([1, 2, 3]) == pytest.approx((3 / 4 + 0) / 2)
    assert metrics.thing_precision([1, 2, 3]) == pytest.approx((3 / 5 + 0) / 2)
    assert metrics.thing_precision([0, 1]) == pytest.approx((6 / 11 + 3 / 5) / 2)


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3), r"must both be \(N, H, W\); got \(2, 3\)"),
        (torch.zeros(1, 4, 2, 2), torch.zeros(1, 2, 2), r"argmax\(dim=1\)"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2, 2).long(), "prediction must have an integer dtype; got torch.float32"),
        (torch.zeros(1, 2, 2).long(), torch.zeros(1, 2, 2), "target must have an integer dtype"),
        (torch.full((1, 2, 2), C), torch.zeros(1, 2, 2).long(), r"must be in 0\.\.4.*got 5"),
        (torch.full((1, 2, 2), -1), torch.ones(1, 2, 2).long(), "got -1"),
        (torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 254), "got 254. Name the ignored label"),
    ],
)
def test_wrong_labels_are_refused(prediction, target, message):
    for count in (confusion_matrix, confusion_matrices):
        with pytest.raises(ValueError, match=message):
            count(prediction, target, C, IGNORED)


def test_without_an_ignored_label_every_label_must_be_a_class():
    with pytest.raises(ValueError, match="got 255"):
        confusion_matrix(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 255), C)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3), dtype=int), "must be square"),
        (np.eye(3), "must hold integers"),
        (-np.eye(3, dtype=int), ">= 0"),
    ],
)
def test_wrong_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        class_metrics(matrix)
