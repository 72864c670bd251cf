"""Whose weights are kept, and what is deleted of the others."""

import pytest

from search.config.search_config import ConfirmConfig
from search.decide.confirm_plan import chosen_ids
from search.project.retention import Retention
from trainable.record.record_types import EndMarker, EpochRecord, TrialSnapshot, TrialSpec, trial_name
from trainable.record.storage import Storage
from trainable.record.trial_record import (
    CONFUSION_MATRIX_FILE,
    PER_IMAGE_COUNTS_FILE,
    WEIGHTS_FILE,
    TrialRecord,
    load_trials,
)

SMALL_FILES = (CONFUSION_MATRIX_FILE, PER_IMAGE_COUNTS_FILE)


def trial(number, objective, loss="dice", reason="completed", epochs=2):
    """A trial whose best epoch is the first."""
    spec = TrialSpec(trial_name(number), number, {}, {"loss": {"name": loss}}, False, 0)
    history = tuple(EpochRecord(epoch, 0, objective, 1, {}) for epoch in range(1, epochs + 1))
    return TrialSnapshot(spec, history, EndMarker(reason, "", 0, 1, history) if reason else None)


def write(folder, snapshot, stale=()):
    """The trial's files as its worker leaves them."""
    record = TrialRecord(folder, snapshot.spec.trial_id)
    record.create(snapshot.spec)
    for epoch in snapshot.epochs:
        record.append(epoch)
        record.folder.write(f"checkpoints/{epoch.epoch:04d}.pt", b"state")
    for epoch in (1, *stale):
        for name in (WEIGHTS_FILE, *SMALL_FILES):
            record.folder.write(record.best_file(EpochRecord(epoch, 0, 0.5, 1, {}), name), b"best")
    if snapshot.end is not None:
        record.end(snapshot.end.reason, "", snapshot.epochs)


def files(folder, number):
    root = folder.local_path / "trials" / trial_name(number)
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {name for name in found if name.startswith(("best", "checkpoints"))}


KEPT = {f"best/0001/{name}" for name in SMALL_FILES}
KEPT_WITH_WEIGHTS = KEPT | {f"best/0001/{WEIGHTS_FILE}"}


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "search"))


def retention(folder, top=1, best_of_each_loss=False):
    confirm = ConfirmConfig(top=top, best_of_each_loss=best_of_each_loss)
    return Retention(folder, lambda trials: chosen_ids(trials, confirm))


def test_the_checkpoints_of_an_ended_trial_go_and_its_best_files_stay(folder):
    write(folder, trial(0, 0.5))
    retention(folder).project(trial(0, 0.5))
    assert files(folder, 0) == KEPT_WITH_WEIGHTS


def test_an_unfinished_trial_is_not_touched(folder):
    write(folder, trial(0, 0.9, reason=None), stale=(2,))
    before = files(folder, 0)
    write(folder, trial(1, 0.1))
    kept = retention(folder)
    kept.project(trial(0, 0.9, reason=None))
    kept.project(trial(1, 0.1))
    assert files(folder, 0) == before


def test_weights_of_a_trial_that_is_outdone_go(folder):
    kept = retention(folder)
    write(folder, trial(0, 0.5))
    kept.project(trial(0, 0.5))
    write(folder, trial(1, 0.6))
    kept.project(trial(1, 0.6))
    assert files(folder, 0) == KEPT
    assert files(folder, 1) == KEPT_WITH_WEIGHTS
    write(folder, trial(2, 0.55))
    kept.project(trial(2, 0.55))
    assert files(folder, 1) == KEPT_WITH_WEIGHTS
    assert files(folder, 2) == KEPT


@pytest.mark.parametrize("reason", ["failed", "diverged"])
def test_weights_of_a_trial_that_failed_go_and_its_counts_stay(folder, reason):
    write(folder, trial(0, 0.5, reason=reason))
    retention(folder).project(trial(0, 0.5, reason=reason))
    assert files(folder, 0) == KEPT


def test_a_new_launch_knows_the_keepers_of_the_last_one(folder):
    """Else the first trial to end would pass for the best, and the true best would be forgotten."""
    write(folder, trial(0, 0.9))
    retention(folder).project(trial(0, 0.9))
    write(folder, trial(1, 0.1))
    retention(folder).project(trial(1, 0.1))
    assert files(folder, 0) == KEPT_WITH_WEIGHTS
    assert files(folder, 1) == KEPT


def test_a_new_launch_deletes_what_the_last_one_owed(folder):
    for snapshot in (trial(0, 0.1), trial(1, 0.9), trial(2, 0.5, reason="failed")):
        write(folder, snapshot)
    kept = retention(folder)
    for snapshot in load_trials(folder):
        kept.project(snapshot)
    assert [files(folder, number) for number in range(3)] == [KEPT, KEPT_WITH_WEIGHTS, KEPT]


def test_best_files_of_an_epoch_without_a_record_go(folder):
    write(folder, trial(0, 0.5), stale=(3,))
    retention(folder).project(trial(0, 0.5))
    assert files(folder, 0) == KEPT_WITH_WEIGHTS


def test_a_failed_trial_without_epochs_leaves_nothing(folder):
    write(folder, trial(0, 0.0, reason="failed", epochs=0))
    retention(folder).project(trial(0, 0.0, reason="failed", epochs=0))
    assert files(folder, 0) == set()


def test_projecting_again_changes_nothing(folder):
    snapshots = [trial(0, 0.1), trial(1, 0.9), trial(2, 0.5, "iou")]
    for snapshot in snapshots:
        write(folder, snapshot)
    for kept in (retention(folder, best_of_each_loss=True),) * 2 + (retention(folder, best_of_each_loss=True),):
        for snapshot in snapshots:
            kept.project(snapshot)
        assert [files(folder, number) for number in range(3)] == [KEPT, KEPT_WITH_WEIGHTS, KEPT_WITH_WEIGHTS]


def test_a_deletion_that_fails_is_made_up_for(folder, monkeypatch):
    for snapshot in (trial(0, 0.5), trial(1, 0.6)):
        write(folder, snapshot)
    kept = retention(folder)
    kept.project(trial(1, 0.6))

    def refuse(self, name):
        raise PermissionError(name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "delete", refuse)
        with pytest.raises(PermissionError):
            kept.project(trial(0, 0.5))
    kept.project(trial(0, 0.5))
    assert files(folder, 0) == KEPT
