"""Labels from scores against argmax."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.measure import argmax_labels as blocks
from trainable.measure.argmax_labels import argmax_labels, first_best


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(0, 2**32), st.booleans(), st.sampled_from([1, 100, 2**20]))
def test_labels_are_those_of_argmax_which_takes_the_first_of_equals(classes, seed, last, block):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-2, 2, (2, classes, 5, 7), generator=generator).float()
    if last:
        logits = logits.to(memory_format=torch.channels_last)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK", {"cpu": block, "cuda": block})
        labels = argmax_labels(logits)
    assert labels.dtype == torch.uint8
    np.testing.assert_array_equal(labels.numpy(), logits.numpy().argmax(axis=1))


def test_any_axis_and_255_classes():
    scores = torch.randn(3, 255, generator=torch.Generator().manual_seed(0))
    scores[0, 254] = scores[1, 0] = math.inf
    scores[2] = -math.inf
    for dim, given_ in ((1, scores), (0, scores.T)):
        assert first_best(given_, dim).tolist() == [254, 0, 0]


def test_scores_that_are_no_numbers_give_a_label():
    """The trial has diverged, and its loss will say so."""
    assert first_best(torch.tensor([[0.5, math.nan, 2.0], [math.nan] * 3]), 1).max() < 3
