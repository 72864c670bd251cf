"""The measurement on val: once, of the best epoch's weights, whole or not there."""

import numpy as np
import pytest
import torch

from trainable.measure.val_counts import ValCounts, ValOutcome
from trainable.record.metric_names import ADJUSTED_TAU
from trainable.record.storage import Storage
from trainable.record.trial_record import VAL_FILE, VAL_MATRIX_FILE, SupersededError, TrialRecord
from trainable.training import EpochOutcome
from trainable.trial_run import Host, TrialRun

SCORES = [0.2, 0.6, 0.4]
TAUS = [0.0, 0.25, 1.0]
CLASS_NAMES = ("road", "car")


def counts(tau):
    return ValCounts(
        images=("a_1", "a_2", "b_1"),
        scenes=("a", "a", "b"),
        class_names=CLASS_NAMES,
        class_colors=np.array([[9, 8, 7], [1, 2, 3]], dtype=np.uint8),
        things=np.array([False, True]),
        counts=np.arange(18).reshape(3, 2, 3),
        adjusted_counts=np.arange(18).reshape(3, 2, 3) + 1,
        sized_objects=np.arange(3 * 2 * 8 * 3).reshape(3, 2, 8, 3),
        tau=tau,
    )


class FakeTrainer:
    """Weights are the number of the epoch; what is measured is written down."""

    def __init__(self, diverges=False):
        self.diverges = diverges
        self.epoch = 0
        self.measured = []

    def run_epoch(self, epoch, should_stop):
        self.epoch = epoch
        if self.diverges and epoch == len(SCORES):
            return EpochOutcome({}, diverged="the training loss became nan")
        return EpochOutcome({"miou": SCORES[epoch - 1], ADJUSTED_TAU: TAUS[epoch - 1]})

    def state(self):
        return {"weight": torch.tensor(float(self.epoch))}

    def load_state(self, state):
        self.epoch = int(state["weight"])

    def weights(self):
        return {"weight": torch.tensor(float(self.epoch))}

    def measure_val(self, weights, tau):
        self.measured.append((float(weights["weight"]), tau))
        return ValOutcome({"miou": 0.5}, np.array([[3, 1], [0, 2]]), counts(tau), ("val in smaller tiles",))


class Death(BaseException):
    """Ends a process: no code of ours catches it."""


class DyingStorage(Storage):
    """Dies right before its n-th write."""

    def __init__(self, url, writes, dies_at=None):
        super().__init__(url)
        self._writes, self._dies_at = writes, dies_at

    def child(self, *parts):
        return DyingStorage("/".join((self.url, *parts)), self._writes, self._dies_at)

    def write(self, name, data):
        self._note(name)
        super().write(name, data)

    def create(self, name, data):
        self._note(name)
        return super().create(name, data)

    def _note(self, name):
        self._writes.append(name)
        if len(self._writes) == self._dies_at:
            raise Death


def start(storage, trainer):
    return TrialRun(TrialRecord(storage, "t0000-s1"), trainer, "miou", CLASS_NAMES, Host("cpu"), len(SCORES))


def confirm(storage, trainer):
    """What a worker does: a step, then the measurement, until the last epoch."""
    run = start(storage, trainer)
    while True:
        record = run.step()
        run.measure_val()
        if record.epoch == len(SCORES):
            return


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "confirm"))


def test_the_best_epoch_on_dev_is_measured_with_its_own_tau_and_only_at_the_end(folder):
    trainer = FakeTrainer()
    run = start(folder, trainer)
    for _ in SCORES[:-1]:
        run.step()
        run.measure_val()
        assert trainer.measured == []
    run.step()
    run.measure_val()
    assert trainer.measured == [(2.0, 0.25)]
    assert run.take_notes() == ["val in smaller tiles"]
    record = TrialRecord(folder, "t0000-s1")
    assert (record.val().epoch, record.val().metrics) == (2, {"miou": 0.5})
    matrix = record.folder.read(record.val_file(record.val(), VAL_MATRIX_FILE)).decode()
    assert matrix == "true \\ predicted,road,car\nroad,3,1\ncar,0,2\n"


def test_what_was_measured_is_not_measured_again(folder):
    trainer = FakeTrainer()
    confirm(folder, trainer)
    again = FakeTrainer()
    confirm(folder, again)
    start(folder, trainer).measure_val()
    assert (len(trainer.measured), again.measured) == (1, [])


def test_a_run_that_diverged_is_not_measured(folder):
    trainer = FakeTrainer(diverges=True)
    confirm(folder, trainer)
    assert trainer.measured == []
    assert TrialRecord(folder, "t0000-s1").val() is None


def test_every_write_of_a_measurement_is_tried_below(folder, tmp_path):
    writes = []
    confirm(DyingStorage(str(tmp_path / "whole"), writes), FakeTrainer())
    assert writes[-3:] == ["val/0001/counts.npz", "val/0001/confusion_matrix.csv", VAL_FILE]
    assert len(writes) == LAST_WRITE


LAST_WRITE = 11
"""Attempt; weights, checkpoint, record of two best epochs; record of the last; three of the measurement."""


@pytest.mark.parametrize("moment", range(1, LAST_WRITE + 1))
def test_a_run_that_dies_at_any_moment_is_measured_once_all_the_same(folder, moment):
    with pytest.raises(Death):
        confirm(DyingStorage(folder.url, [], moment), FakeTrainer())
    assert TrialRecord(folder, "t0000-s1").val() is None
    trainer = FakeTrainer()
    confirm(folder, trainer)
    assert trainer.measured == [(2.0, 0.25)]
    assert TrialRecord(folder, "t0000-s1").val().epoch == 2


def test_weights_that_are_gone_are_named(folder):
    trainer = FakeTrainer()
    run = start(folder, trainer)
    for _ in SCORES:
        run.step()
    record = TrialRecord(folder, "t0000-s1")
    record.folder.delete(record.best_file(record.epochs()[1], "weights.pt"))
    with pytest.raises(RuntimeError, match="has no weights of its best epoch, 2"):
        run.measure_val()


def test_counts_survive_their_file(folder):
    before = counts(-0.5)
    after = ValCounts.from_bytes(before.to_bytes())
    assert (after.images, after.scenes, after.class_names) == (before.images, before.scenes, before.class_names)
    assert after.tau == -0.5
    for name in ("class_colors", "things", "counts", "adjusted_counts", "sized_objects"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_a_file_that_holds_objects_to_unpickle_is_refused(tmp_path):
    path = tmp_path / "counts.npz"
    np.savez(path, images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="something else than counts and names"):
        ValCounts.from_bytes(path.read_bytes())


def test_weights_that_are_damaged_are_named(folder):
    trainer = FakeTrainer()
    run = start(folder, trainer)
    for _ in SCORES:
        run.step()
    record = TrialRecord(folder, "t0000-s1")
    name = record.best_file(record.epochs()[1], "weights.pt")
    record.folder.write(name, record.folder.read(name)[:-20])
    with pytest.raises(RuntimeError, match=rf"{name} is damaged"):
        run.measure_val()
    assert trainer.measured == []


def test_a_start_that_passed_for_dead_measures_nothing_that_counts(folder):
    """It was measuring when the run was started again elsewhere, on other hardware."""
    zombie, trainer = start(folder, FakeTrainer()), FakeTrainer()
    for _ in SCORES:
        zombie.step()
    measure = zombie._trainer.measure_val

    def measured_elsewhere_meanwhile(weights, tau):
        confirm(folder, trainer)
        return measure(weights, tau)

    zombie._trainer.measure_val = measured_elsewhere_meanwhile
    with pytest.raises(SupersededError, match="start 1 of t0000-s1 passed for dead and start 2 took over"):
        zombie.measure_val()
    record = TrialRecord(folder, "t0000-s1")
    assert record.val().start == 2
    assert record.folder.names("val") == ["0002", "record.json"]
