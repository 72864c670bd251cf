"""A conductor under any history: kills, failures, excuses, restarts, deleted and damaged files, extensions."""

import json
import shutil
import tempfile
from pathlib import Path

import optuna
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from search.config.search_config import SearchConfig
from search.decide.conductor import Conductor
from search.decide.search_plan import SearchPlan
from trainable.record.record_types import EpochRecord
from trainable.record.storage import Storage
from trainable.record.trial_record import TrialRecord, load_trials
from trainable.training import EpochOutcome
from trainable.trial_run import Host, TrialRun

optuna.logging.set_verbosity(optuna.logging.WARNING)

MAX_EPOCHS = 4
MAX_ATTEMPTS = 2
STEPS = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
PICK = st.integers(0, 5)
SCORE = st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def conductor(folder, trials=6):
    """The real one; its rungs are at one and at two epochs of four."""
    config = SearchConfig.model_validate(
        {
            "name": "any",
            "dataset": {"layout": "synthetic"},
            "space": {
                "loss": {"name": ["dice", "tversky"], "alpha": {"low": 0.1, "high": 1.0}, "beta": 0.5, "gamma": 1.0}
            },
            "budget": {"trials": trials, "max_epochs": MAX_EPOCHS},
            "scheduler": {"grace_epochs": 1, "reduction_factor": 2},
        }
    )
    made = Conductor(SearchPlan(config), folder, lambda trial: None, MAX_ATTEMPTS)
    made.recover()
    return made


def picked(names, pick):
    """One of some names."""
    return sorted(names)[pick % len(names)]


class Restarts(RuleBasedStateMachine):
    """One conductor that is made anew again and again, and one that never is: the same history, the same decisions."""

    def __init__(self):
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.folders = [Storage(str(self.place / name)) for name in ("restarted", "never")]
        self.pair = [conductor(folder) for folder in self.folders]
        self.failures = {}
        self.clock = 0

    def teardown(self):
        shutil.rmtree(self.place)

    @property
    def running(self):
        return self.pair[1].running

    @initialize(scores=st.lists(SCORE, min_size=2, max_size=3))
    def begin(self, scores):
        """A trial stands at the first rung for each score, and one more runs."""
        for score in scores:
            self.hand_out()
            self.finish_an_epoch(len(self.running) - 1, score, diverged=False)
        self.hand_out()

    def both(self, act):
        first, second = [act(each) for each in self.pair]
        return first, second

    def write_epoch(self, trial_id, score, diverged):
        """A worker's durable epoch, in both records."""
        for folder in self.folders:
            record = TrialRecord(folder, trial_id)
            before = record.epochs()
            objective = 0.0 if diverged else max([score, *(epoch.objective for epoch in before)])
            epoch = EpochRecord(len(before) + 1, self.clock, objective, 1, {}, diverged="nan" if diverged else None)
            record.append(epoch)
        self.clock += 1
        return epoch

    @rule()
    def hand_out(self):
        first, second = self.both(lambda each: each.next_trial())
        assert (first is None) == (second is None)
        if first is not None:
            assert (first.trial_id, first.params) == (second.trial_id, second.params)

    @precondition(lambda self: self.running)
    @rule(pick=PICK, score=SCORE, diverged=st.sampled_from([False] * 5 + [True]))
    def finish_an_epoch(self, pick, score, diverged):
        trial_id = picked(self.running, pick)
        epoch = self.write_epoch(trial_id, score, diverged)
        first, second = self.both(lambda each: each.epoch_done(trial_id, epoch))
        assert first == second

    @precondition(lambda self: self.running)
    @rule(pick=PICK, score=SCORE, diverged=st.booleans(), counted=st.booleans())
    def die_between_record_and_result(self, pick, score, diverged, counted):
        trial_id = picked(self.running, pick)
        self.write_epoch(trial_id, score, diverged)
        self.both(lambda each: each.attempt_failed(trial_id, "its process died", counted))

    # What a driver suspects dies with it: its trials are started again, which the other conductor cannot know.
    @precondition(lambda self: self.running and not any(self.failures.values()))
    @rule(pick=PICK, score=SCORE, diverged=st.booleans())
    def die_with_the_driver_between_record_and_result(self, pick, score, diverged):
        """One driver hears of the epoch; the other is dead by then and finds it in the record."""
        trial_id = picked(self.running, pick)
        epoch = self.write_epoch(trial_id, score, diverged)
        self.pair[1].epoch_done(trial_id, epoch)
        self.restart()

    @precondition(lambda self: self.running)
    @rule(pick=PICK, counted=st.booleans())
    def fail(self, pick, counted):
        trial_id = picked(self.running, pick)
        self.both(lambda each: each.attempt_failed(trial_id, "its process died", counted))

    @precondition(lambda self: self.running)
    @rule(pick=PICK)
    def be_refused(self, pick):
        trial_id = picked(self.running, pick)
        self.both(lambda each: each.trial_failed(trial_id, "it does not fit into memory"))

    @precondition(lambda self: self.running)
    @rule(pick=PICK)
    def fail_on_a_machine_that_may_be_lost(self, pick):
        trial_id = picked(self.running, pick)
        failures = self.both(lambda each: each.attempt_failed(trial_id, "its process died", True, suspected=True))
        self.failures.setdefault(trial_id, []).append(failures)

    @precondition(lambda self: any(self.failures.values()))
    @rule(pick=PICK, lost=st.booleans())
    def learn_whether_it_was_lost(self, pick, lost):
        trial_id = picked([name for name, failures in self.failures.items() if failures], pick)
        failures = self.failures[trial_id].pop(0)
        for each, failure in zip(self.pair, failures, strict=True):
            if lost:
                each.excuse(trial_id, failure)
            else:
                each.convict(trial_id)

    @precondition(lambda self: not any(self.failures.values()))
    @rule()
    def restart(self):
        self.pair[0] = conductor(self.folders[0])
        for trial_id in sorted(self.running):
            self.pair[1].attempt_failed(trial_id, "its driver died", counted=False)

    @invariant()
    def decide_alike(self):
        records = [
            [(t.spec.trial_id, t.spec.params, t.state, [e.objective for e in t.epochs]) for t in load_trials(folder)]
            for folder in self.folders
        ]
        assert records[0] == records[1]
        known = [[(t.spec.trial_id, t.state, len(t.epochs)) for t in each.trials.values()] for each in self.pair]
        assert known[0] == known[1]
        assert self.pair[0].running == self.pair[1].running
        assert self.pair[0].awaiting == self.pair[1].awaiting
        assert self.pair[0].left == self.pair[1].left


class Trainer:
    """Trains a number: what it was fed says which trial's weights they are."""

    def __init__(self, trial_id, alpha):
        self.seen = torch.zeros(1)
        self.mark = hash((trial_id, alpha)) % 997

    def run_epoch(self, epoch, should_stop):
        self.seen = self.seen + self.mark
        return EpochOutcome({"miou": 0.1 * epoch, "mark": float(self.mark)})

    def state(self):
        return {"seen": self.seen}

    def load_state(self, state):
        self.seen = state["seen"]

    def weights(self):
        return {"seen": self.seen}


class Harm(RuleBasedStateMachine):
    """Files are deleted and damaged, drivers and workers killed, the search extended: what was durable stays itself."""

    def __init__(self):
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.folder = Storage(str(self.place / "search"))
        self.trials = 4
        self.given = {}
        self.durable = {}
        self.deleted = set()
        self.conductor = None

    def teardown(self):
        shutil.rmtree(self.place)

    @initialize()
    def begin(self):
        self.conductor = conductor(self.folder, self.trials)
        self.hand_out()
        self.train(0, 3, heard=True)
        self.hand_out()

    @property
    def there(self):
        return self.folder.names("trials")

    def path(self, trial_id, name):
        return self.folder.local_path / "trials" / trial_id / name

    def note(self, trial_id, epoch):
        self.durable[trial_id, epoch.epoch, epoch.start] = epoch

    @rule()
    def hand_out(self):
        spec = self.conductor.next_trial()
        if spec is None:
            return
        before = self.given.setdefault(spec.trial_id, spec.params)
        assert before == spec.params
        assert spec.trial_id not in self.deleted, "a number was given twice"

    @precondition(lambda self: self.conductor.running)
    @rule(pick=PICK, epochs=st.integers(1, 3), heard=st.booleans())
    def train(self, pick, epochs, heard):
        """A worker starts, trains some epochs, and dies; the driver hears of all of them, or of none."""
        trial_id = picked(self.conductor.running, pick)
        if trial_id not in self.there:  # deleted under a running trial
            return
        trainer = Trainer(trial_id, str(self.given[trial_id]))
        run = TrialRun(TrialRecord(self.folder, trial_id), trainer, "miou", ("a",), Host("cpu"), MAX_EPOCHS)
        for _ in range(epochs):
            epoch = run.step()
            assert epoch.metrics["mark"] == trainer.mark, "an epoch under other parameters"
            self.note(trial_id, epoch)
            if heard and not self.conductor.epoch_done(trial_id, epoch):
                return
        self.conductor.attempt_failed(trial_id, "its process died", counted=False)

    @rule(more=st.integers(0, 2))
    def start_anew(self, more):
        """Another launch, of an extended search."""
        self.trials += more
        self.conductor = conductor(self.folder, self.trials)

    @precondition(lambda self: self.there)
    @rule(pick=PICK)
    def delete_a_trial(self, pick):
        trial_id = picked(self.there, pick)
        shutil.rmtree(self.path(trial_id, ""))
        self.deleted.add(trial_id)
        self.durable = {key: epoch for key, epoch in self.durable.items() if key[0] != trial_id}
        self.start_anew(0)

    @precondition(lambda self: self.there)
    @rule(pick=PICK, which=PICK, kind=st.sampled_from(["failures", "attempts", "checkpoints", "judged"]))
    def damage_a_file(self, pick, which, kind):
        trial_id = picked(self.there, pick)
        files = sorted(self.path(trial_id, kind).glob("*.*"))
        if files:
            files[which % len(files)].write_bytes(b"{damaged")
            self.start_anew(0)

    @precondition(lambda self: self.conductor.running)
    @rule(pick=PICK, which=st.integers(0, 1))
    def damage_an_epoch_and_go_on(self, pick, which):
        """The driver lives on and the next start finds it: what follows the damage is trained again."""
        trial_id = picked(self.conductor.running, pick)
        files = sorted(self.path(trial_id, "epochs").glob("*.json"))
        if trial_id in self.there and files:
            files[which % len(files)].write_bytes(b"{damaged")
            self.train(pick, 1, heard=True)

    @precondition(lambda self: self.there)
    @rule(pick=PICK)
    def damage_an_end(self, pick):
        end = self.path(picked(self.there, pick), "end.json")
        if end.exists():
            end.write_bytes(b"")
            self.start_anew(0)

    @invariant()
    def what_was_durable_is_still_there(self):
        """Unharmed by the test, in its place or set aside, byte for byte; and what is known of a trial is its own."""
        kept = {}
        for trial_id in self.there:
            for file in [*self.path(trial_id, "epochs").glob("*"), *self.path(trial_id, "set_aside").glob("*")]:
                data = file.read_bytes()
                if data != b"{damaged":
                    epoch = json.loads(data)
                    kept[trial_id, epoch["epoch"], epoch["start"]] = epoch["time_ms"]
        harmed = sum(
            file.read_bytes() == b"{damaged"
            for trial_id in self.there
            for folder in ("epochs", "set_aside")
            for file in self.path(trial_id, folder).glob("*")
        )
        missing = [key for key, epoch in self.durable.items() if kept.get(key) != epoch.time_ms]
        assert len(missing) <= harmed, missing
        for trial in self.conductor.trials.values():
            assert trial.spec.params == self.given.get(trial.spec.trial_id, trial.spec.params)
            assert len({epoch.metrics["mark"] for epoch in trial.epochs}) <= 1


TestRestarts = Restarts.TestCase
TestRestarts.settings = STEPS
TestHarm = Harm.TestCase
TestHarm.settings = STEPS
