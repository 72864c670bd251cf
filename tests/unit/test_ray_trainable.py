"""The trainable as Ray Tune drives it: one object, trial after trial; no Ray runtime is needed for that."""

import errno
import gc
import json
import os
import socket
import weakref

import pytest

from trainable import ray_trainable as keys
from trainable.config.sections import DataConfig, ModelConfig, OptimizerConfig
from trainable.data.dataset_config import DatasetConfig
from trainable.data.trial_data import reuse_trial_data
from trainable.ray_trainable import SegmentationTrainable
from trainable.record.record_types import EpochRecord
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.training import Training
from trainable.trial_config import TrialConfig


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A Trainable makes a folder below the home folder and goes there."""
    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "ray"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def search(tmp_path):
    return Storage(str(tmp_path / "search"))


@pytest.fixture
def assignment(synthetic_config, synthetic_cache_dir, search):
    """Makes what the driver puts into a Tune trial's config."""

    def assign(trial_id, **changes):
        config = TrialConfig(
            **{
                "dataset": synthetic_config,
                "model": ModelConfig(architecture="unet", encoder="timm-mobilenetv3_small_100", encoder_weights="none"),
                "data": DataConfig(batch_size=8, crop="32x32"),
                "max_epochs": 2,
            }
            | changes
        )
        return {
            keys.TRIAL_ID: trial_id,
            keys.TRIAL_CONFIG: config.model_dump_json(),
            keys.SEARCH_FOLDER: search.url,
            keys.CACHE_DIR: str(synthetic_cache_dir),
            keys.SHARE: {"cpus": 1, "gpus": 0},
            keys.MEASURE_VAL: False,
            keys.DATA_OF: (search.url, reuse_trial_data(synthetic_config, synthetic_cache_dir).cache.fingerprint),
        }

    return assign


@pytest.fixture
def trainable(assignment):
    built = SegmentationTrainable(config=assignment("t0000"))
    yield built
    built.stop()


def epochs(search, trial_id):
    return TrialRecord(search, trial_id).epochs()


def test_a_step_is_a_durable_epoch(trainable, search):
    result = trainable.train()
    record = EpochRecord(**json.loads(result[keys.RECORD]))
    assert epochs(search, "t0000") == (record,)
    assert result[keys.EPOCH] == record.epoch == 1
    assert result["objective"] == record.objective
    assert trainable.train()[keys.EPOCH] == 2


def test_nothing_is_built_before_the_first_step(assignment, search):
    """What fails in a constructor or in reset_config is not retried by Tune."""
    broken = assignment("t0000") | {keys.TRIAL_CONFIG: "not a config"}
    built = SegmentationTrainable(config=broken)
    assert built.reset_config(broken) is True
    with pytest.raises(ValueError, match="Invalid JSON"):
        built.step()
    assert search.names() == []
    built.reset_config(assignment("t0001"))
    assert built.step()[keys.EPOCH] == 1


def test_a_warm_trainable_gives_what_a_fresh_one_gives(trainable, assignment, search):
    for _ in range(2):
        trainable.train()
    assert trainable.reset(assignment("t0001"))
    for _ in range(2):
        trainable.train()
    first, second = epochs(search, "t0000"), epochs(search, "t0001")
    assert [r.metrics["train_loss"] for r in first] == [r.metrics["train_loss"] for r in second]
    assert [r.metrics["dev_loss"] for r in first] == [r.metrics["dev_loss"] for r in second]


def test_a_reset_takes_the_new_config(trainable, assignment, search):
    trainable.train()
    trainable.reset(assignment("t0001", optimizer=OptimizerConfig(learning_rate=0.01)))
    trainable.train()
    rates = [epochs(search, trial_id)[0].metrics["learning_rate"] for trial_id in ("t0000", "t0001")]
    assert rates[1] == pytest.approx(10 * rates[0])


def test_a_reset_frees_all_that_the_last_trial_held(trainable, assignment):
    trainable.train()
    run = trainable._run
    held = [weakref.ref(thing) for thing in (run, run._trainer, run._trainer._model, run._trainer._optimizer)]
    held += [weakref.ref(parameter) for parameter in run._trainer._model.parameters()]
    del run
    # No collection of garbage but the reset's own.
    gc.disable()
    try:
        trainable.reset(assignment("t0001"))
        assert [reference() for reference in held if reference() is not None] == []
    finally:
        gc.enable()


def test_trial_after_trial_a_process_holds_no_more_objects(trainable, assignment):
    """Whatever a library notes of each network, optimizer or record that was ever made would add up."""
    held = []
    for number in range(1, 10):
        trainable.train()
        trainable.reset(assignment(f"t{number:04d}"))
        gc.collect()
        held.append(len(gc.get_objects()))
    warm = held[3:]  # what is imported, cached and compiled at first use is there
    assert max(warm) - min(warm) < 2 * len(warm)


def test_cleaning_up_frees_too(assignment):
    built = SegmentationTrainable(config=assignment("t0000"))
    built.train()
    held = weakref.ref(built._run)
    built.stop()
    assert held() is None


def test_trials_share_the_opened_data(trainable, assignment):
    trainable.train()
    data = trainable._run._trainer._data
    trainable.reset(assignment("t0001"))
    trainable.train()
    assert trainable._run._trainer._data is data


def test_another_trainable_continues_from_the_record(trainable, assignment, search):
    trainable.train()
    before = epochs(search, "t0000")
    other = SegmentationTrainable(config=assignment("t0000"))
    assert other.train()[keys.EPOCH] == 2
    assert epochs(search, "t0000")[:1] == before
    assert epochs(search, "t0000")[1].attempt == 2
    other.stop()


def test_what_is_trained_can_be_put_in_its_place(assignment):
    built = []

    class Counting(SegmentationTrainable):
        def build(self, config, data, compute):
            built.append(config.model.architecture)
            return Training(config, data, compute)

    trainable = Counting(config=assignment("t0000"))
    trainable.train()
    trainable.stop()
    assert built == ["unet"]


def fault_of(result):
    rule, value, remedy = json.loads(result[keys.FAULT])
    return f"{rule}; got {value}. {remedy}."


def test_a_full_storage_is_told_and_not_raised(trainable, monkeypatch):
    """Raised, it would be the trial's failure, and be retried."""

    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    trainable.train()
    monkeypatch.setattr(os, "fsync", refuse)
    result = trainable.train()
    assert "No space left on device' when asked to write" in fault_of(result)
    assert "Free space there and continue" in fault_of(result)
    assert socket.gethostname() in fault_of(result)
    assert keys.RECORD not in result
    monkeypatch.undo()


def test_other_data_than_the_search_began_with_are_told_and_not_trained_on(assignment, search):
    trainable = SegmentationTrainable(config=assignment("t0000") | {keys.DATA_OF: (search.url, "another fingerprint")})
    assert "a search needs the data that it began with" in fault_of(trainable.train())
    assert search.child("trials").names() == []
    trainable.stop()


def test_data_that_are_not_there_are_told_and_not_the_trials_failure(assignment, tmp_path):
    gone = DatasetConfig(layout="aeroscapes", root=tmp_path / "gone")
    trainable = SegmentationTrainable(config=assignment("t0000", dataset=gone))
    assert "no such folder" in fault_of(trainable.train())
    trainable.stop()


def test_a_refused_checkpoint_is_told_once(assignment, search):
    first = SegmentationTrainable(config=assignment("t0000", max_epochs=3))
    for _ in range(2):
        assert json.loads(first.train()[keys.NOTES]) == []
    first.stop()
    name = "trials/t0000/checkpoints/0002-0001.pt"
    search.write(name, search.read(name)[:-10])
    second = SegmentationTrainable(config=assignment("t0000", max_epochs=3))
    (note,) = json.loads(second.train()[keys.NOTES])
    assert f"{name} is damaged and passed over" in note
    assert json.loads(second.train()[keys.NOTES]) == []
    second.stop()
