"""Losses at equal effort, from a search's trials."""

import io

import pytest
from rich.console import Console

from aerosweep.terminal.loss_comparison import effort_by_loss, loss_table
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, trial_name

HOUR_MS = 3_600_000


def trial(number, loss, objective, reason="completed"):
    """A trial of two epochs, an hour each."""
    spec = TrialSpec(trial_name(number), number, {}, {"loss": {"name": loss}}, False, 0)
    epochs = tuple(EpochRecord(epoch, epoch * HOUR_MS, objective, 1, {}) for epoch in (1, 2))
    return TrialSnapshot(spec, epochs, EndMarker(reason, "", 0, 1, epochs) if reason else None)


TRIALS = [
    trial(0, "dice", 0.2),
    trial(1, "dice", 0.4, "pruned"),
    trial(2, "dice", 0.6),
    trial(3, "focal", 0.5),
    trial(4, "focal", 0.9, "failed"),
    trial(5, "focal", 0.9, None),
    trial(6, "iou", 0.7, "diverged"),
]


def test_effort_and_expected_best_are_by_loss():
    frame = effort_by_loss(TRIALS).set_index("loss")
    assert list(frame.index) == ["focal", "dice", "iou"]
    assert frame["trials"].to_dict() == {"dice": 3, "focal": 1, "iou": 1}
    assert frame["pruned"].to_dict() == {"dice": 1, "focal": 0, "iou": 0}
    assert frame["hours"].to_dict() == pytest.approx({"dice": 6.0, "focal": 4.0, "iou": 2.0})
    assert frame["best"].to_dict() == pytest.approx({"dice": 0.6, "focal": 0.5, "iou": 0.0})
    assert frame["n_equal"].tolist() == [1, 1, 1]
    assert frame["expected_best"].to_dict() == pytest.approx({"dice": 0.4, "focal": 0.5, "iou": 0.0})


def test_a_loss_whose_trials_all_failed_has_its_hours_and_no_score():
    frame = effort_by_loss([trial(0, "iou", 0.9, "failed"), trial(1, "dice", 0.4)]).set_index("loss")
    assert list(frame.index) == ["dice", "iou"]
    assert frame.loc["iou", ["trials", "hours"]].tolist() == [0, 2.0]
    assert frame.loc["iou", ["best", "expected_best"]].isna().all()


def test_the_table_says_n_and_the_effort():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(loss_table(TRIALS))
    text = console.export_text()
    assert "expected best of 1" in text
    assert "Dodge et al. 2019" in text
    assert text.index("focal") < text.index("dice")


def test_a_single_loss_is_compared_with_nothing():
    assert loss_table(TRIALS[:3]) is None
    assert loss_table([]) is None
    assert loss_table([trial(0, "dice", 0.5, "failed"), trial(1, "iou", 0.5, "failed")]) is None
