"""Logit adjustment at all strengths against scoring every pixel at each of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainable.data.image_set import IGNORED
from trainable.measure import argmax_labels as blocks
from trainable.measure.argmax_labels import argmax_labels
from trainable.measure.confusion import confusion_matrices
from trainable.measure.logit_adjustment import TAUS, LogitAdjustment, log_priors

CPU = torch.device("cpu")


def naive(logits, target, log_prior, taus):
    """Confusion matrices of argmax_c (logit_c - tau * log prior_c), in float64."""
    prior = torch.from_numpy(log_prior).view(1, -1, 1, 1)
    adjusted = [(logits.double() - tau * prior).argmax(dim=1) for tau in taus]
    return torch.stack([confusion_matrices(labels, target, logits.shape[1], IGNORED) for labels in adjusted])


def ours(logits, target, log_prior, taus):
    labels = argmax_labels(logits)
    matrices = confusion_matrices(labels, target, logits.shape[1], IGNORED)
    return LogitAdjustment(log_prior, taus, CPU).confusion(logits, labels, target, matrices)


@st.composite
def problems(draw):
    """Logits and priors in steps of 1/4 or 1/64: float32 holds every score exactly, and many tie."""
    n, classes = draw(st.integers(1, 3)), draw(st.integers(2, 7))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    steps = draw(st.sampled_from([4, 64]))
    logits = torch.randint(-8 * steps, 8 * steps, (n, classes, height, width), generator=generator) / steps
    if draw(st.booleans()):
        logits = logits.to(memory_format=torch.channels_last)
    log_prior = torch.randint(-10 * steps, 0, (classes,), generator=generator).double().numpy() / steps
    target = torch.randint(0, classes, (n, height, width), generator=generator)
    target[torch.rand(n, height, width, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = IGNORED
    return logits, target, log_prior


taus = st.one_of(
    st.just(TAUS),
    st.lists(st.integers(-8, 12), unique=True, max_size=6).map(lambda steps: tuple(step / 4 for step in sorted(steps))),
)


@settings(deadline=None, max_examples=300)
@given(problems(), taus)
def test_every_tau_counts_what_scoring_all_pixels_counts(problem, taus):
    """Of tied classes the first is predicted, at every tau."""
    given_, expected = ours(*problem, taus), naive(*problem, taus) if taus else None
    assert given_.shape == (len(taus), len(problem[0]), *[problem[0].shape[1]] * 2)
    assert given_.dtype == torch.int64
    if taus:
        assert torch.equal(given_, expected)


@pytest.mark.parametrize("block", [1, 700, 2**20])
@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_logits_of_a_network_in_blocks_of_rows(monkeypatch, block, scale):
    monkeypatch.setattr(blocks, "_BLOCK", {"cpu": block, "cuda": block})
    generator = torch.Generator().manual_seed(4)
    shares = np.array([0.5, 0.004, 0.2, 0.2, 0.0959, 0.0001])
    logits = scale * torch.randn(2, 6, 37, 23, generator=generator)
    target = torch.randint(0, 6, (2, 37, 23), generator=generator)
    problem = logits, target, np.log(shares)
    assert torch.equal(ours(*problem, TAUS), naive(*problem, TAUS))


@pytest.mark.parametrize("tau", [-0.5, 0.0, 0.75])
def test_a_tau_alone_gives_what_it_gives_among_others(tau):
    generator = torch.Generator().manual_seed(5)
    logits, target = torch.randn(2, 4, 9, 8, generator=generator), torch.randint(0, 4, (2, 9, 8), generator=generator)
    problem = logits, target, np.log([0.7, 0.1, 0.15, 0.05])
    assert torch.equal(ours(*problem, (tau,))[0], ours(*problem, TAUS)[TAUS.index(tau)])


def test_tau_zero_is_what_the_network_says_however_the_ends_round():
    """2e-7 apart: with a prior of -16 taken off, float32 holds both scores as one."""
    logits = torch.tensor([0.1, 0.1 + 1.2e-7]).view(1, 2, 1, 1)
    problem = logits, torch.ones(1, 1, 1, dtype=torch.int64), np.array([-16.0, -16.0])
    assert ours(*problem, TAUS)[TAUS.index(0)].tolist() == [[[0, 0], [0, 1]]]


def test_the_rare_class_gains_with_tau():
    logits, target = torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, dtype=torch.int64)
    logits[0, 0] = 1.0  # the frequent class leads by 1; the rare one's prior is lower by 2
    matrices = ours(logits, target, np.array([-0.5, -2.5]), TAUS)
    assert [tau for tau, matrix in zip(TAUS, matrices, strict=True) if matrix[0, 0, 1]] == [0.75, 1, 1.25, 1.5]


def test_strengths_are_ascending_and_hold_none():
    assert TAUS == (-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5)


def test_priors_are_shares_and_an_absent_class_has_no_lead():
    np.testing.assert_allclose(np.exp(log_priors(np.array([30, 0, 10, 60]))), [0.3, 0.6, 0.1, 0.6])
    np.testing.assert_allclose(log_priors(np.zeros(3, dtype=np.int64)), 0)
