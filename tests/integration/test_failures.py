"""Trials that raise, die or hang: retried from their checkpoint, given up with a reason, and the search goes on."""

import io
import json
import os
import re
import signal
import sys
import time

import pytest
from ray import cloudpickle
from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.search_config import SearchConfig
from search.run import tune_adaptors
from search.run.launch import run_search
from trainable.errors import InputError
from trainable.ray_trainable import SegmentationTrainable
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord
from trainable.training import EpochOutcome

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.faults]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

EPOCHS = 3
DEEDS = {
    1e-4: "raise",
    2e-4: "die once",
    3e-4: "hang once",
    4e-4: "nan",
    5e-4: "die",
    6e-4: "hang",
    7e-4: "be refused",
    8e-4: "learn",
    9e-4: "die when taken",
}


class Mischief:
    """A trainer that learns nothing and, in its second epoch, does what its trial's learning rate says."""

    def __init__(self, rate, folder):
        self.deed = DEEDS.get(rate)
        self.folder = folder
        self.marker = f"{folder}/done-{rate}"
        self.epochs = 0

    def run_epoch(self, epoch, should_stop):
        if epoch == 2:
            self.misbehave()
        if epoch == 2 and self.deed == "nan":
            return EpochOutcome({}, diverged="the training loss became nan in epoch 2")
        self.epochs += 1
        return EpochOutcome({"miou": 0.1 * epoch, "train_loss": 1 / self.epochs})

    def misbehave(self):
        if self.deed == "be refused":
            raise InputError("a training step must fit into memory", "out of memory", "Use smaller crops")
        if self.deed == "raise":
            raise RuntimeError("the disk caught fire")
        if self.deed in ("die once", "hang once"):
            if os.path.exists(self.marker):  # noqa: PTH110
                return
            open(self.marker, "w").close()  # noqa: PTH123
        if self.deed in ("die once", "die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed in ("hang once", "hang"):
            open(f"{self.folder}/hangs-{time.time_ns()}", "w").close()  # noqa: PTH123
            time.sleep(600)
            raise RuntimeError("nobody has killed it")

    def state(self):
        return {"epochs": self.epochs}

    def load_state(self, state):
        self.epochs = state["epochs"]

    def weights(self):
        return {}


class MischiefTrainable(SegmentationTrainable):
    def reset_config(self, new_config):
        rate = json.loads(new_config["aerosweep_config"])["optimizer"]["learning_rate"]
        marker = f"{os.path.dirname(new_config['aerosweep_folder'])}/taken-{rate}"  # noqa: PTH120
        if DEEDS.get(rate) == "die when taken" and not os.path.exists(marker):  # noqa: PTH110
            open(marker, "w").close()  # noqa: PTH123
            os.kill(os.getpid(), signal.SIGKILL)
        return super().reset_config(new_config)

    def build(self, config, data, compute):
        return Mischief(config.optimizer.learning_rate, os.path.dirname(self._assignment["aerosweep_folder"]))  # noqa: PTH120


class HangingClock:
    """The driver's: an hour passes whenever a trial has begun to hang; no other seems to hang on a slow machine."""

    def __init__(self, folder):
        self.folder = folder

    def monotonic(self):
        return 3600.0 * len(list(self.folder.glob("hangs-*")))


@pytest.fixture(scope="module")
def outcome(ray_address, search_cache, make_small_search, tmp_path_factory):
    folder = tmp_path_factory.mktemp("failures")
    values = make_small_search(folder, search_cache)
    values["space"] = {
        "model": {"encoder": "resnet18", "encoder_weights": "none"},
        "optimizer": {"learning_rate": list(DEEDS), "warmup_epochs": 0},
    }
    values["baselines"] = [{"optimizer.learning_rate": rate} for rate in DEEDS]
    values["budget"] = {"trials": len(DEEDS), "max_epochs": EPOCHS}
    values["runtime"] = {"max_attempts": 3, "epoch_timeout_minutes": 30}
    # One at a time: the last takes the warm process that the one before it leaves, and nobody waits while one hangs.
    values["resources"]["max_concurrent"] = 1
    output = io.StringIO()
    view = PlainView(Console(file=output, width=200))
    config = SearchConfig.model_validate(values).absolute()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune_adaptors, "time", HangingClock(folder))
        result = run_search(
            config, resume=False, address=ray_address, view=view, say=view.say, trainable=MischiefTrainable
        )
    return (
        {trial.spec.config["optimizer"]["learning_rate"]: trial for trial in result.trials},
        output.getvalue(),
        result,
    )


def test_a_trial_that_raises_is_retried_and_then_failed_with_its_reason(outcome):
    trials, output, _ = outcome
    trial = trials[1e-4]
    assert trial.state == "failed"
    assert trial.attempts == 3
    assert "RuntimeError: the disk caught fire" in trial.end.detail
    assert [epoch.epoch for epoch in trial.epochs] == [1]
    assert "the disk caught fire" in output
    assert "Traceback" not in output


def test_a_trial_that_cannot_be_trained_is_not_tried_again(outcome):
    trials, _, _ = outcome
    trial = trials[7e-4]
    assert trial.state == "failed"
    assert trial.attempts == 1
    assert trial.end.detail == "a training step must fit into memory; got out of memory. Use smaller crops."


@pytest.mark.parametrize("rate", [2e-4, 3e-4])
def test_a_trial_whose_process_dies_or_hangs_continues_from_its_checkpoint(outcome, rate):
    trials, _, _ = outcome
    trial = trials[rate]
    assert trial.state == "completed"
    assert trial.attempts == 2
    assert [epoch.epoch for epoch in trial.epochs] == [1, 2, 3]
    assert [epoch.attempt for epoch in trial.epochs] == [1, 2, 2]
    assert [epoch.metrics["train_loss"] for epoch in trial.epochs] == [1, 1 / 2, 1 / 3]


def test_a_trial_whose_warm_process_dies_as_it_takes_it_is_started_again(outcome):
    trials, _, result = outcome
    trial = trials[9e-4]
    assert (trial.state, trial.attempts) == ("completed", 1), "that process never started it"
    (failure,) = TrialRecord(Storage(result.folder), trial.spec.trial_id).failures()
    assert (failure.start, failure.counted) == (0, True)
    assert failure.reason.startswith("its process died")


@pytest.mark.parametrize(
    ("rate", "reason"),
    [(5e-4, "its process died"), (6e-4, r"it hung: no epoch within 30 minutes \(runtime\.epoch_timeout_minutes\)")],
)
def test_a_trial_whose_process_always_dies_or_hangs_fails_with_its_reason(outcome, rate, reason):
    trials, output, _ = outcome
    trial = trials[rate]
    assert trial.state == "failed"
    assert trial.attempts == 3
    assert re.match(reason, trial.end.detail)
    assert re.search(reason, output)
    assert [epoch.epoch for epoch in trial.epochs] == [1]


def test_a_diverged_trial_ends_with_objective_zero(outcome):
    trials, _, _ = outcome
    trial = trials[4e-4]
    assert trial.state == "diverged"
    assert trial.epochs[-1].objective == 0.0
    assert trial.attempts == 1


def test_the_search_goes_on_and_counts_its_one_quiet_trial_best(outcome):
    trials, _, result = outcome
    assert trials[8e-4].state == "completed"
    assert result.interrupted is None
    rows = Storage(result.folder).read("leaderboard.csv").decode().splitlines()
    assert sum(",completed," in row for row in rows[1:5]) == 4
    assert not any(",completed," in row for row in rows[5:])
