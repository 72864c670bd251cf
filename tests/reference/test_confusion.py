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

from trainable.measure.class_sums import ClassSums
from trainable.measure.confusion import class_metrics, confusion_matrices, outcome_counts
from trainable.measure.metric_functions import mean_iou, mean_precision, mean_recall

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


def test_matrices_match_the_naive_loop_and_torchmetrics(labels):
    matrices = confusion_matrices(*labels, C, IGNORED)
    assert matrices.dtype == torch.int64
    assert matrices.shape == (3, C, C)
    for matrix, prediction, target in zip(matrices, *labels, strict=True):
        np.testing.assert_array_equal(matrix, naive_matrix(prediction, target, IGNORED))
        assert torch.equal(matrix, multiclass_confusion_matrix(prediction, target, C, ignore_index=IGNORED))


INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("ignored", [IGNORED, -100, 0, 2, 100, None])
@pytest.mark.parametrize("of_target", INTEGERS)
def test_labels_may_have_any_integer_type(labels, of_target, ignored):
    prediction, target = labels
    limits = torch.iinfo(of_target)
    able = ignored is not None and limits.min <= ignored <= limits.max
    target = torch.where(target == IGNORED, ignored if able else 1, target).to(of_target)
    expected = naive_matrix(prediction, target, ignored)
    for of_prediction in INTEGERS:
        given = prediction.to(of_prediction), target
        before = [tensor.clone() for tensor in given]
        matrices = confusion_matrices(*given, C, ignored)
        assert matrices.dtype == torch.int64
        np.testing.assert_array_equal(matrices.sum(dim=0), expected)
        for image, matrix in enumerate(matrices):
            alone = confusion_matrices(*(tensor[image : image + 1] for tensor in given), C, ignored)
            assert torch.equal(alone, matrix[None])
        for tensor, copy in zip(given, before, strict=True):
            np.testing.assert_array_equal(tensor.numpy(), copy.numpy())


@pytest.mark.parametrize(("target", "ignored"), [(torch.uint8, -100), (torch.int8, IGNORED), (torch.uint8, 256 + C)])
def test_a_label_is_not_ignored_because_its_low_bits_are_those_of_the_ignored_one(target, ignored):
    """156 is -100, 255 is -1 and 261 is 5 in eight bits."""
    low_bits = torch.tensor([[[ignored]]]).to(target)
    with pytest.raises(ValueError, match=f"got {int(low_bits)}. Name the ignored label"):
        confusion_matrices(torch.zeros(1, 1, 1, dtype=torch.uint8), low_bits, C, ignored)


@pytest.mark.parametrize("classes", [12, 15, 16, 17, 63, 64, 65, 127, 128, 180, 181, 182, 255])
@pytest.mark.parametrize(("images", "width"), [(1, 1), (1, 7), (1, 16), (1, 40_000), (2, 7), (250, 7)])
def test_many_classes_and_images_are_counted(classes, images, width):
    """Also where cells have more numbers than 16 bits hold, and rows more columns."""
    generator = torch.Generator().manual_seed(classes)
    prediction, target = torch.randint(0, classes, (2, images, 5, width), generator=generator).to(torch.uint8)
    target[:, 2] = IGNORED
    target[-1, -1, -1] = prediction[-1, -1, -1] = classes - 1
    matrices = confusion_matrices(prediction, target, classes, IGNORED)
    expected = np.zeros((images, classes, classes), dtype=np.int64)
    image, row, column = np.nonzero(target.numpy() != IGNORED)
    np.add.at(expected, (image, target[image, row, column].numpy(), prediction[image, row, column].numpy()), 1)
    np.testing.assert_array_equal(matrices, expected)


@pytest.mark.parametrize("classes", [2, 12, 16, 127, 128, 254])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("ignored", [IGNORED, None])
def test_any_byte_that_is_no_label_is_refused(classes, images, ignored):
    for wrong in range(classes, 255 if ignored else 256):
        for place in (0, 1):
            labels = torch.zeros(2, images, 3, 9, dtype=torch.uint8)
            labels[place, -1, 2, 8] = wrong
            with pytest.raises(ValueError, match=f"got {wrong}. Name"):
                confusion_matrices(*labels, classes, ignored)
    with pytest.raises(ValueError, match="got 255"):
        confusion_matrices(*torch.full((2, images, 3, 9), 255, dtype=torch.uint8), classes, IGNORED)


def test_views_into_larger_tensors_are_counted(labels):
    prediction, target = labels
    views = prediction[:, 1:6, ::2], target.transpose(1, 2).contiguous().transpose(1, 2)[:, 1:6, ::2]
    expected = naive_matrix(prediction[:, 1:6, ::2], target[:, 1:6, ::2], IGNORED)
    np.testing.assert_array_equal(confusion_matrices(*views, C, IGNORED).sum(dim=0), expected)


def test_rows_are_true_and_columns_predicted():
    (matrix,) = confusion_matrices(torch.tensor([[[1, 1, 0]]]), torch.tensor([[[0, 0, 2]]]), 3)
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
    metrics = class_metrics(confusion_matrices(*labels, C, IGNORED).sum(dim=0).numpy())
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


MATRIX = np.array([[6, 2, 0, 1], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def mean_over(function, matrix, labels):
    """A mean over some classes."""
    (value,) = function(ClassSums.of_split(np.asarray(matrix)).only(labels))
    return value


def test_means_leave_out_what_never_occurs_in_the_truth():
    metrics = class_metrics(MATRIX)
    np.testing.assert_allclose(metrics.iou, [6 / 10, 3 / 6, np.nan, np.nan])
    np.testing.assert_allclose(metrics.recall, [6 / 9, 3 / 4, np.nan, np.nan])
    np.testing.assert_allclose(metrics.precision, [6 / 7, 3 / 5, np.nan, np.nan])
    assert metrics.left_out == (2, 3)
    assert metrics.mean_iou == pytest.approx((6 / 10 + 3 / 6) / 2)
    assert metrics.worst_class_iou == pytest.approx(3 / 6)
    assert mean_over(mean_iou, MATRIX, [0, 3]) == pytest.approx(6 / 10)
    assert metrics.pixel_accuracy == pytest.approx(9 / 13)


def test_metrics_of_nothing_are_nan():
    metrics = class_metrics(np.zeros((3, 3), dtype=int))
    assert metrics.left_out == (0, 1, 2)
    for value in (metrics.mean_iou, metrics.worst_class_iou, metrics.pixel_accuracy):
        assert math.isnan(value)
    for mean in (mean_iou, mean_recall, mean_precision):
        assert math.isnan(mean_over(mean, np.zeros((3, 3), dtype=int), [1]))
    assert math.isnan(mean_over(mean_iou, np.eye(3, dtype=int), []))


def test_means_over_things_count_an_occurring_class_that_is_never_predicted_as_zero():
    matrix = [[6, 2, 0, 1], [1, 3, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]]
    assert mean_over(mean_recall, matrix, [1, 2, 3]) == pytest.approx((3 / 4 + 0) / 2)
    assert mean_over(mean_precision, matrix, [1, 2, 3]) == pytest.approx((3 / 5 + 0) / 2)
    assert mean_over(mean_precision, matrix, [0, 1]) == pytest.approx((6 / 11 + 3 / 5) / 2)


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
    with pytest.raises(ValueError, match=message):
        confusion_matrices(prediction, target, C, IGNORED)


def test_without_an_ignored_label_every_label_must_be_a_class():
    with pytest.raises(ValueError, match="got 255"):
        confusion_matrices(torch.zeros(1, 2, 2).long(), torch.full((1, 2, 2), 255), C)


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
