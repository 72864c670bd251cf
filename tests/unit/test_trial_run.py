"""A trial that dies anywhere and is started anew leaves the record that it would have left."""

import dataclasses
import json
import re
from dataclasses import fields

import numpy as np
import pytest
import torch

from trainable.data.image_set import LabelClass
from trainable.measure.image_counts import ImageCounts
from trainable.record.checkpoint import from_bytes
from trainable.record.record_format import NewerRecordError
from trainable.record.storage import Storage
from trainable.record.trial_record import SupersededError, TrialRecord
from trainable.training import EpochOutcome, InterruptedTraining
from trainable.trial_run import Host, TrialRun

SCORES = [0.3, 0.2, 0.5, 0.5, 0.4, 0.6]
CLASS_NAMES = ("road", "car")


def image_counts(epoch):
    return ImageCounts(
        images=("a_1", "a_2", "b_1"),
        scenes=("a", "a", "b"),
        class_names=CLASS_NAMES,
        class_colors=np.array([[9, 8, 7], [1, 2, 3]], dtype=np.uint8),
        things=np.array([False, True]),
        counts=np.full((3, 2, 3), epoch),
        sized_objects=np.full((3, 2, 8, 3), 10 * epoch),
    )


class FakeTrainer:
    """A training loop whose weight is the sum of the epochs it has trained: repeating or leaving one shows."""

    def __init__(self, scores=SCORES, diverges_in=None):
        self.scores = scores
        self.diverges_in = diverges_in
        self.trained = []
        self.weight = torch.zeros(1)

    def run_epoch(self, epoch, should_stop):
        if should_stop():
            raise InterruptedTraining
        self.trained.append(epoch)
        self.weight = self.weight + epoch
        if epoch == self.diverges_in:
            return EpochOutcome({}, diverged=f"the training loss became nan in epoch {epoch}")
        metrics = {"miou": self.scores[epoch - 1], "train_loss": float(self.weight)}
        matrix = np.array([[epoch, 0], [1, 2]])
        return EpochOutcome(metrics, None, matrix, image_counts(epoch))

    def state(self):
        return {"weight": self.weight}

    def load_state(self, state):
        self.weight = state["weight"]

    def weights(self):
        return {"weight": self.weight}


class Power(BaseException):
    """Fails: no code of ours catches it."""


class FailingStorage(Storage):
    """Dies before (or right after) the n-th change, as a killed process does."""

    def __init__(self, url, log, fail_at=None, after=False):
        super().__init__(url)
        self._log, self._fail_at, self._after = log, fail_at, after

    def child(self, *parts):
        return FailingStorage("/".join((self.url, *parts)), self._log, self._fail_at, self._after)

    def write(self, name, data):
        self._change(f"write {name}", lambda: super(FailingStorage, self).write(name, data))

    def create(self, name, data):
        self._change(f"create {name}", lambda: super(FailingStorage, self).create(name, data))
        return True

    def delete(self, name):
        self._change(f"delete {name}", lambda: super(FailingStorage, self).delete(name))

    def delete_folder(self, name):
        self._change(f"delete {name}", lambda: super(FailingStorage, self).delete_folder(name))

    def _change(self, what, change):
        self._log.append(what)
        fails = len(self._log) == self._fail_at
        if fails and not self._after:
            raise Power
        change()
        if fails:
            raise Power


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "search"))


def start(storage, trainer=None, objective="miou"):
    record = TrialRecord(storage, "t0000")
    return TrialRun(record, trainer or FakeTrainer(), objective, CLASS_NAMES, Host("cpu", "node"), len(SCORES))


def run(storage, epochs, trainer=None):
    """Run to the given epoch, however much is done already."""
    trial = start(storage, trainer)
    while (record := trial.step()).epoch < epochs:
        pass
    return record


def epochs_of(storage):
    return TrialRecord(storage, "t0000").epochs()


def timeless(records):
    return [dataclasses.replace(record, time_ms=0, attempt=0, start=0) for record in records]


def files_below(storage):
    root = storage.local_path / "trials/t0000"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_best_files_then_checkpoint_then_record_then_pruning(tmp_path):
    log = []
    trial = start(FailingStorage(str(tmp_path), log))
    for _ in range(3):
        trial.step()
    best = ["weights.pt", "confusion_matrix.csv", "per_image_counts.npz"]
    assert log == [
        "create attempts/0001.json",
        *(f"write best/0001-0001/{name}" for name in best),
        "write checkpoints/0001-0001.pt",
        "create epochs/0001.json",
        "write checkpoints/0002-0001.pt",
        "create epochs/0002.json",
        *(f"write best/0003-0001/{name}" for name in best),
        "write checkpoints/0003-0001.pt",
        "create epochs/0003.json",
        "delete checkpoints/0001-0001.pt",
        "delete best/0001-0001",
    ]


def test_the_objective_is_the_running_best(folder):
    run(folder, 6)
    records = epochs_of(folder)
    assert [record.objective for record in records] == [0.3, 0.3, 0.5, 0.5, 0.5, 0.6]
    assert [record.best_epoch for record in records] == [1, 1, 3, 3, 3, 6]
    assert [record.metrics["best_miou"] for record in records] == [0.3, 0.3, 0.5, 0.5, 0.5, 0.6]
    assert [record.metrics["objective"] for record in records] == [0.3, 0.3, 0.5, 0.5, 0.5, 0.6]
    assert [record.metrics["miou"] for record in records] == SCORES


def test_a_score_of_nothing_is_not_lost_to_a_worse_one(folder):
    run(folder, 2, FakeTrainer([0.0, 0.0]))
    assert [record.best_epoch for record in epochs_of(folder)] == [1, 1]


def test_an_objective_that_the_epoch_does_not_have_is_zero(folder):
    trial = start(folder, objective="thing_miou")
    record = trial.step()
    assert record.objective == 0.0
    assert record.metrics["best_miou"] == 0.3


def test_the_record_says_where_and_in_which_attempt(folder):
    start(folder).step()
    record = start(folder).step()
    assert (record.node, record.device, record.attempt, record.epoch) == ("node", "cpu", 2, 2)


def test_attempts_are_counted_with_what_they_continued_from(folder):
    for _ in range(3):
        start(folder).step()
    facts = [json.loads(folder.read(f"trials/t0000/attempts/{n:04d}.json"))["continued_from"] for n in (1, 2, 3)]
    assert facts == [0, 1, 2]


def test_only_the_best_files_and_two_checkpoints_are_kept(folder):
    run(folder, 5)
    names = set(files_below(folder))
    assert {name for name in names if name.startswith("best/")} == {
        f"best/0003-0001/{name}" for name in ("weights.pt", "confusion_matrix.csv", "per_image_counts.npz")
    }
    assert {name for name in names if name.startswith("checkpoints/")} == {
        "checkpoints/0004-0001.pt",
        "checkpoints/0005-0001.pt",
    }


def test_the_last_epoch_has_no_checkpoint_because_nothing_continues_from_it(folder):
    run(folder, 6)
    assert folder.names("trials/t0000/checkpoints") == ["0004-0001.pt", "0005-0001.pt"]
    folder.write("trials/t0000/epochs/0006.json", b"damaged")
    trainer = FakeTrainer()
    run(folder, 6, trainer)
    assert trainer.trained == [6]


def test_best_files_are_those_of_the_best_epoch(folder):
    run(folder, 5)
    trial = folder.child("trials", "t0000")
    content = from_bytes(trial.read("best/0003-0001/weights.pt"))
    assert float(content["state_dict"]["weight"]) == 1 + 2 + 3
    assert content["class_names"] == list(CLASS_NAMES)
    assert (
        trial.read("best/0003-0001/confusion_matrix.csv").decode() == "true \\ predicted,road,car\nroad,3,0\ncar,1,2\n"
    )
    found = ImageCounts.from_bytes(trial.read("best/0003-0001/per_image_counts.npz"))
    expected = image_counts(3)
    for field in fields(ImageCounts):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name), field.name)
    assert found.classes == (LabelClass("road", (9, 8, 7), False), LabelClass("car", (1, 2, 3), True))


def test_a_trainer_without_weights_leaves_no_weights(folder):
    trainer = FakeTrainer()
    trainer.weights = dict
    run(folder, 1, trainer)
    assert folder.names("trials/t0000/best/0001-0001") == ["confusion_matrix.csv", "per_image_counts.npz"]


def test_a_new_run_trains_no_durable_epoch_again(folder):
    run(folder, 3)
    trainer = FakeTrainer()
    run(folder, 6, trainer)
    assert trainer.trained == [4, 5, 6]
    assert float(trainer.weight) == sum(range(1, 7))


CHANGES = 26
"""Writes and deletions of six epochs and a start."""


def test_every_change_is_tried_below(tmp_path):
    log = []
    run(FailingStorage(str(tmp_path), log), 6)
    assert len(log) == CHANGES


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", range(1, CHANGES + 1))
def test_a_trial_that_dies_at_any_moment_leaves_what_it_would_have(tmp_path, moment, after):
    unharmed = Storage(str(tmp_path / "unharmed"))
    run(unharmed, 6)
    url = str(tmp_path / "killed")
    with pytest.raises(Power):
        run(FailingStorage(url, [], moment, after), 6)
    before = epochs_of(Storage(url))
    run(Storage(url), 6)
    records = epochs_of(Storage(url))
    assert records[: len(before)] == before
    assert timeless(records) == timeless(epochs_of(unharmed))
    assert {record.attempt for record in records[len(before) :]} <= ({1} if (moment, after) == (1, False) else {2})
    expected, left = without_starts(files_below(unharmed)), without_starts(files_below(Storage(url)))
    assert left.keys() - {"attempts/0002.json"} == expected.keys()
    for name in expected:
        if not name.startswith(("epochs/", "attempts/")):
            assert left[name] == expected[name], name
    assert promised_files(Storage(url)) <= files_below(Storage(url)).keys()


def without_starts(files):
    """The files by their epoch alone; two of one epoch would be one too many."""
    named = [(re.sub(r"(\d{4})-\d{4}", r"\1", name), data) for name, data in files.items()]
    assert len(dict(named)) == len(files)
    return dict(named)


def promised_files(storage):
    """What the records say is there: the weights of the best epoch, and the last checkpoint."""
    records = epochs_of(storage)
    best = records[records[-1].best_epoch - 1]
    saved = records[: len(SCORES) - 1][-1]  # the last epoch of a trial has none
    return {
        f"best/{best.epoch:04d}-{best.start:04d}/weights.pt",
        f"checkpoints/{saved.epoch:04d}-{saved.start:04d}.pt",
    }


def damage(storage, *epochs):
    for epoch in epochs:
        storage.write(f"trials/t0000/checkpoints/{epoch:04d}-0001.pt", b"damaged")


def test_after_a_damaged_checkpoint_the_epoch_is_trained_again_and_its_record_stands(folder):
    run(folder, 4)
    before = files_below(folder)
    damage(folder, 4)
    trainer = FakeTrainer([0.9] * 6)  # another machine: another result
    trial = start(folder, trainer)
    record = trial.step()
    assert trainer.trained == [4]
    assert record == epochs_of(folder)[3]
    after = files_below(folder)
    for name in ("epochs/0004.json", "best/0003-0001/weights.pt", "checkpoints/0004-0001.pt"):
        assert after[name] == before[name]
    assert trial.step().epoch == 5
    assert epochs_of(folder)[4].objective == 0.9


def test_the_best_files_outlive_epochs_that_are_trained_again(folder):
    """Both checkpoints are damaged: the trial begins anew, and its record promises the best files meanwhile."""
    run(folder, 5)
    before = files_below(folder)
    damage(folder, 4, 5)
    trainer = FakeTrainer()
    trial = start(folder, trainer)
    for epoch in range(1, 6):
        assert trial.step() == epochs_of(folder)[epoch - 1]
        assert folder.names("trials/t0000/best") == ["0003-0001"]
        assert f"{epoch:04d}-0001.pt" in folder.names("trials/t0000/checkpoints")
    assert trainer.trained == [1, 2, 3, 4, 5]
    after = files_below(folder)
    after.pop("attempts/0002.json")
    assert after == before


def test_a_run_that_is_killed_while_it_trains_again_keeps_what_it_regained(folder):
    run(folder, 5)
    damage(folder, 4, 5)
    start(folder).step()
    trainer = FakeTrainer()
    start(folder, trainer).step()
    assert trainer.trained == [2]


def test_divergence_is_recorded_with_an_objective_of_zero(folder):
    trial = start(folder, FakeTrainer(diverges_in=3))
    records = [trial.step() for _ in range(3)]
    assert records[2].diverged == "the training loss became nan in epoch 3"
    assert [record.objective for record in records] == [0.3, 0.3, 0.0]
    assert records[2].metrics == {"best_miou": 0.3, "objective": 0.0}
    assert records[2].best_epoch == 1
    assert epochs_of(folder) == tuple(records)
    assert folder.names("trials/t0000/checkpoints") == ["0001-0001.pt", "0002-0001.pt"]
    assert folder.names("trials/t0000/best") == ["0001-0001"]


def test_divergence_in_the_first_epoch_leaves_a_record_and_nothing_else(folder):
    record = start(folder, FakeTrainer(diverges_in=1)).step()
    assert record.objective == 0.0
    assert record.metrics == {"objective": 0.0}
    assert set(files_below(folder)) == {"attempts/0001.json", "epochs/0001.json"}


def test_a_diverged_trial_is_not_trained_again(folder):
    trial = start(folder, FakeTrainer(diverges_in=2))
    last = [trial.step(), trial.step()][-1]
    assert trial.step() == last
    trainer = FakeTrainer()
    assert start(folder, trainer).step() == last
    assert trainer.trained == []


def test_a_complete_trial_is_not_trained_further(folder):
    """Its worker died between the last record and telling of it; both checkpoints may even be gone."""
    last = run(folder, 6)
    damage(folder, 5, 6)
    trainer = FakeTrainer()
    assert start(folder, trainer).step() == last
    assert trainer.trained == []


def test_an_interruption_leaves_nothing(folder):
    trial = start(folder)
    trial.step()
    before = files_below(folder)
    with pytest.raises(InterruptedTraining):
        trial.step(lambda: True)
    assert files_below(folder) == before


def test_a_run_that_was_left_half_way_trains_no_further(folder):
    """Its network has seen a part of the epoch: only a new run begins where the record ends."""
    trial = start(folder)
    trial.step()
    with pytest.raises(InterruptedTraining):
        trial.step(lambda: True)
    with pytest.raises(RuntimeError, match="an epoch of t0000 was left half-way; a new TrialRun continues it"):
        trial.step()
    assert start(folder).step().epoch == 2


def test_after_a_damaged_record_its_epoch_and_those_behind_it_are_recorded_anew(folder):
    run(folder, 4)
    before = epochs_of(folder)
    folder.write("trials/t0000/epochs/0002.json", b'{"epoch": 2, "time')
    run(folder, 4)
    assert timeless(epochs_of(folder)) == timeless(before)
    assert epochs_of(folder)[0] == before[0]
    kept = {name: data for name, data in files_below(folder).items() if name.startswith("set_aside/")}
    assert kept.keys() == {f"set_aside/0002-epochs-{epoch:04d}.json" for epoch in (2, 3, 4)}
    assert kept["set_aside/0002-epochs-0002.json"] == b'{"epoch": 2, "time'
    assert json.loads(kept["set_aside/0002-epochs-0004.json"])["epoch"] == 4


def test_a_start_that_passed_for_dead_leaves_the_files_of_the_next_one_alone(folder):
    """It finds out after its epoch, whatever it had time to do before the next start."""
    zombie = start(folder, FakeTrainer([0.3, 0.9, 0.9, 0.9, 0.9, 0.9]))
    zombie.step()
    run(folder, 4)
    before = files_below(folder)
    with pytest.raises(SupersededError, match="start 1 of t0000 passed for dead and start 2 took over"):
        zombie.step()
    assert files_below(folder) == before


class ZombieStorage(Storage):
    """Lets another start go on at the moment just before this one writes what `before` names."""

    def __init__(self, url, before, meanwhile):
        super().__init__(url)
        self.before, self.meanwhile = before, meanwhile

    def child(self, *parts):
        return ZombieStorage("/".join((self.url, *parts)), self.before, self.meanwhile)

    def write(self, name, data):
        self._pass(name)
        super().write(name, data)

    def create(self, name, data):
        self._pass(name)
        return super().create(name, data)

    def _pass(self, name):
        if self.before == name:
            self.meanwhile()


@pytest.mark.parametrize("moment", ["best/0003-0001/weights.pt", "checkpoints/0003-0001.pt", "epochs/0003.json"])
def test_metrics_and_weights_are_of_one_start_at_whatever_moment_another_takes_over(tmp_path, moment):
    url = str(tmp_path / "search")
    folder = Storage(url)

    def take_over():
        run(folder, 4, FakeTrainer([0.3, 0.2, 0.7, 0.5, 0.4, 0.6]))

    other_hardware = FakeTrainer([0.3, 0.2, 0.9, 0.9, 0.9, 0.9])
    other_hardware.weight = torch.ones(1)
    zombie = start(ZombieStorage(url, moment, take_over), other_hardware)
    assert [zombie.step().epoch, zombie.step().epoch] == [1, 2]
    with pytest.raises(SupersededError, match="epoch 3 of t0000 was recorded by another process meanwhile"):
        zombie.step()
    records = epochs_of(folder)
    assert [record.start for record in records] == [1, 1, 2, 2]
    assert records[2].metrics["miou"] == 0.7
    weights = from_bytes(folder.read("trials/t0000/best/0003-0002/weights.pt"))["state_dict"]["weight"]
    assert float(weights) == records[2].metrics["train_loss"], "the weights are those that were measured"
    run(folder, 6, FakeTrainer([0.3, 0.2, 0.7, 0.5, 0.4, 0.6]))
    assert promised_files(folder) <= files_below(folder).keys()
    assert not any("-0001" in name for name in files_below(folder) if name.startswith(("best/", "checkpoints/")))


def test_a_start_records_what_it_had_in_hand_when_the_next_one_only_begins(tmp_path):
    """It is too late for the next start to stop it: the next one gives way, and whoever follows goes on from there."""
    url = str(tmp_path / "search")
    folder = Storage(url)
    later = []
    zombie = start(ZombieStorage(url, "epochs/0002.json", lambda: later.append(start(folder))))
    zombie.step()
    zombie.step()
    with pytest.raises(SupersededError, match="epoch 2 of t0000 was recorded by another process meanwhile"):
        later[0].step()
    run(folder, 6)
    assert [record.start for record in epochs_of(folder)] == [1, 1, 3, 3, 3, 3]
    assert promised_files(folder) <= files_below(folder).keys()


def test_a_record_of_a_newer_version_is_refused_before_anything_is_changed(folder):
    run(folder, 4)
    content = json.loads(folder.read("trials/t0000/epochs/0003.json"))
    folder.write("trials/t0000/epochs/0003.json", json.dumps(content | {"format": 99}).encode())
    before = files_below(folder)
    with pytest.raises(NewerRecordError, match=r"epochs/0003\.json must be of a format .* got format 99"):
        start(folder)
    assert files_below(folder) == before
