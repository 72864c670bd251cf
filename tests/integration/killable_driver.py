"""A driver that waits at a chosen moment, to be killed there: `python killable_driver.py CONFIG MOMENT LOG [--resume]`.

It trains nothing, in a way that shows what was trained: each epoch is a line in LOG, and each suggestion says how many
observations it was made of. MOMENT is a pattern: whichever trial is the first to fit writes a line into `LOG.here` that
says where it is, and waits for ever.
"""

import os
import re
import sys
import time
from pathlib import Path

from rich.console import Console

from aerosweep.terminal.progress import PlainView
from search.config.config_file import load_search_config
from search.decide.sampler import Sampler
from search.project.mlflow_tracker import Tracker
from search.run.launch import run_search
from trainable.ray_trainable import TRIAL_ID, SegmentationTrainable
from trainable.training import EpochOutcome

MAX_EPOCHS = 3


def write_line(log, *words):
    with Path(log).open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def stop_at(moment, log, place):
    """Wait to be killed, where this place is that of the moment."""
    if re.fullmatch(moment, place):
        write_line(f"{log}.here", place)
        wait_to_be_killed()


def wait_to_be_killed():
    while True:
        time.sleep(600)


class CountingTrainer:
    """Its metrics say how many epochs its state has been through."""

    def __init__(self, trial_id, log, moment):
        self.trial_id = trial_id
        self.log = log
        self.moment = moment
        self.epochs = 0

    def run_epoch(self, epoch, should_stop):
        stop_at(self.moment, self.log, f"training {self.trial_id} {epoch}")
        if Path(f"{self.log}.here").exists():
            wait_to_be_killed()  # nobody goes on while one waits
        write_line(self.log, "trained", self.trial_id, epoch)
        time.sleep(0.1)
        self.epochs += 1
        score = 0.1 * epoch + 0.01 * (int(self.trial_id[1:]) % 3)
        return EpochOutcome({"miou": score, "train_loss": 1 / self.epochs})

    def state(self):
        return {"epochs": self.epochs}

    def load_state(self, state):
        self.epochs = state["epochs"]

    def weights(self):
        return {}


class KillableTrainable(SegmentationTrainable):
    log = ""
    moment = ""

    def build(self, config, data, compute):
        return CountingTrainer(self._assignment[TRIAL_ID], self.log, self.moment)

    def _start(self):
        run = super()._start()
        append = run._record.append

        def append_and_wait(record):
            place = f"{run._record.trial_id} {record.epoch}"
            stop_at(self.moment, self.log, f"before the record of {place}")
            append(record)
            stop_at(self.moment, self.log, f"after the record of {place}")

        run._record.append = append_and_wait
        return run


def wait_in_mlflow(moment, log):
    """Wait once MLflow has carried out a call, and before anybody remembers that it has."""
    log_batch, close = Tracker.log, Tracker.close

    def log_and_wait(self, run, metrics=(), params=None, tags=None):
        log_batch(self, run, metrics, params, tags)
        if metrics:
            stop_at(moment, log, f"MLflow has metrics of {run.tags.get('aerosweep.trial')}")

    def close_and_wait(self, run, status, end_ms):
        close(self, run, status, end_ms)
        stop_at(moment, log, f"MLflow has closed {run.tags.get('aerosweep.trial')}")

    Tracker.log, Tracker.close = log_and_wait, close_and_wait


def log_observations(log):
    point = Sampler.point

    def point_and_log(self, observations, number, *args):
        write_line(log, "suggested", number, len(observations))
        return point(self, observations, number, *args)

    Sampler.point = point_and_log


def main(config_file, moment, log, *options):
    # Of the class itself, which goes to the workers by value.
    KillableTrainable.log, KillableTrainable.moment = log, moment
    wait_in_mlflow(moment, log)
    log_observations(log)
    view = PlainView(Console(width=200))
    outcome = run_search(
        load_search_config(Path(config_file), [], None),
        resume="--resume" in options,
        address=os.environ.get("RAY_ADDRESS"),
        view=view,
        say=view.say,
        trainable=KillableTrainable,
    )
    return int(outcome.resume_needed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
