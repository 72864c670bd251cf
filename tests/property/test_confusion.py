"""What must hold of the confusion matrix and its metrics for any labels."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.measure.confusion import class_metrics, confusion_matrices, outcome_counts

IGNORED = 255
untimed = settings(deadline=None)  # torch's first calls take long, and so does a busy machine


@st.composite
def labels(draw):
    """Predictions, truths with ignored pixels, and the number of classes."""
    n, height, width = (draw(st.integers(0, 5)) for _ in range(3))
    num_classes = draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    prediction = torch.randint(0, num_classes, (n, height, width), generator=generator)
    target = torch.randint(0, draw(st.integers(1, num_classes)), (n, height, width), generator=generator)
    target[torch.rand(n, height, width, generator=generator) < draw(st.sampled_from([0.0, 0.4, 1.0]))] = IGNORED
    return prediction, target.to(draw(st.sampled_from([torch.uint8, torch.int16, torch.int64]))), num_classes


@untimed
@given(labels())
def test_images_add_up_to_the_matrix(labels):
    counts = outcome_counts(confusion_matrices(*labels, IGNORED))
    prediction, target, num_classes = labels
    # As one image, all below each other.
    tall = [tensor.flatten(0, 1)[None] for tensor in (prediction, target)]
    (matrix,) = confusion_matrices(*tall, num_classes, IGNORED)
    tp = matrix.diagonal()
    expected = torch.stack([tp, matrix.sum(dim=1) - tp, matrix.sum(dim=0) - tp], dim=1)
    assert torch.equal(counts.sum(dim=0), expected)
    assert matrix.sum() == (labels[1] != IGNORED).sum()
    assert (counts >= 0).all()


@untimed
@given(labels())
def test_metrics_are_in_range_or_nan_where_nothing_is_true(labels):
    matrix = confusion_matrices(*labels, IGNORED).sum(dim=0).numpy()
    metrics = class_metrics(matrix)
    for values in (metrics.iou, metrics.recall, metrics.precision):
        assert ((values >= 0) & (values <= 1) | np.isnan(values)).all()
    never_true = matrix.sum(axis=1) == 0
    np.testing.assert_array_equal(np.isnan(metrics.iou), never_true)
    np.testing.assert_array_equal(np.isnan(metrics.recall), never_true)
    np.testing.assert_array_equal(np.isnan(metrics.precision), never_true | (matrix.sum(axis=0) == 0))
    assert metrics.left_out == tuple(np.flatnonzero(never_true))
    assert (metrics.iou[~never_true] <= metrics.recall[~never_true]).all()
    if not never_true.all():
        assert metrics.worst_class_iou <= metrics.mean_iou + 1e-12 <= 1 + 1e-9


@untimed
@given(labels())
def test_the_truth_as_prediction_is_perfect(labels):
    _, target, num_classes = labels
    prediction = torch.where(target == IGNORED, 0, target.long())
    metrics = class_metrics(confusion_matrices(prediction, target, num_classes, IGNORED).sum(dim=0).numpy())
    if (target != IGNORED).any():
        assert metrics.mean_iou == metrics.worst_class_iou == metrics.pixel_accuracy == 1.0


@untimed
@given(labels(), st.randoms(use_true_random=False))
def test_the_order_of_classes_does_not_matter(labels, random):
    matrix = confusion_matrices(*labels, IGNORED).sum(dim=0).numpy()
    order = list(range(len(matrix)))
    random.shuffle(order)
    metrics, permuted = class_metrics(matrix), class_metrics(matrix[np.ix_(order, order)])
    np.testing.assert_array_equal(permuted.iou, metrics.iou[order])
    np.testing.assert_array_equal(permuted.precision, metrics.precision[order])
    np.testing.assert_allclose(permuted.mean_iou, metrics.mean_iou)
