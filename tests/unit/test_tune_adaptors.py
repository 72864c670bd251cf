"""Tune's hooks: what is no trial's fault ends the search, whichever hook meets it; no Ray runtime is needed."""

import json
from types import SimpleNamespace

import pytest

from search.config.search_config import SearchConfig
from search.decide.conductor import Conductor
from search.decide.search_plan import SearchPlan
from search.run.lost_machines import LostMachines
from search.run.tune_adaptors import DriverCallback, RecordScheduler, RecordSearcher, SearchStopped
from trainable import ray_trainable as keys
from trainable.errors import SearchFaultError
from trainable.record.storage import Storage

FAULT = SearchFaultError("the storage must be writable", "a full disk", "Free space there")
TRIAL = SimpleNamespace(trial_id="tune-1", config={keys.TRIAL_ID: "t0000"}, error_file=None)
RECORD = {keys.RECORD: json.dumps({"epoch": 1, "time_ms": 0, "objective": 0.1, "best_epoch": 1, "metrics": {}})}


class FullDisk:
    """A conductor that can write nothing."""

    def fail(self, *_, **__):
        raise FAULT

    next_trial = epoch_done = trial_failed = attempt_failed = fail
    running = awaiting = frozenset()


class Noting:
    """A conductor that notes what it is told."""

    def __init__(self):
        self.told = []

    def epoch_done(self, trial_id, record):
        self.told.append((trial_id, record.epoch))
        return True

    def trial_failed(self, trial_id, detail):
        self.told.append((trial_id, detail))

    def attempt_failed(self, trial_id, reason, counted, suspected):
        self.told.append((trial_id, counted))
        return SimpleNamespace(counted=counted)


def nothing(*_):
    """Does nothing."""


FREE, TAKEN = SimpleNamespace(free=True), SimpleNamespace(free=False)


def callback(conductor, turn=lambda: True):
    return DriverCallback(conductor, LostMachines(frozenset, "", nothing, nothing), 60.0, turn)


@pytest.mark.parametrize(
    "meet",
    [
        lambda: RecordSearcher(FullDisk(), FREE, dict, nothing).suggest("tune-1"),
        lambda: RecordScheduler(FullDisk(), nothing).on_trial_result(None, TRIAL, dict(RECORD)),
        lambda: RecordScheduler(FullDisk(), nothing).on_trial_result(None, TRIAL, {keys.REFUSAL: "too large"}),
        lambda: callback(FullDisk()).on_trial_error(1, [], TRIAL),
        lambda: callback(Noting(), turn=FullDisk().fail).on_step_end(1, []),
    ],
    ids=["a suggestion", "an epoch", "a refusal", "a failure", "a lost lease"],
)
def test_a_fault_of_the_search_leaves_tunes_loop_as_no_exception_that_tune_would_catch(meet):
    with pytest.raises(SearchStopped) as stopped:
        meet()
    assert stopped.value.fault is FAULT
    assert not isinstance(stopped.value, Exception)


def test_a_fault_that_a_worker_tells_of_ends_the_search_with_its_words():
    parts = [FAULT.rule, FAULT.value, FAULT.remedy]
    conductor = Noting()
    with pytest.raises(SearchStopped) as stopped:
        RecordScheduler(conductor, nothing).on_trial_result(None, TRIAL, {keys.FAULT: json.dumps(parts)})
    assert str(stopped.value.fault) == str(FAULT)
    assert conductor.told == []


def test_a_stop_that_was_asked_for_has_no_fault():
    with pytest.raises(SearchStopped) as stopped:
        callback(Noting(), turn=lambda: False).on_step_end(1, [])
    assert stopped.value.fault is None


class Handing:
    """A conductor with one trial."""

    def __init__(self):
        self.running, self.awaiting, self.spec = frozenset(), frozenset(), {"a": "spec"}

    def next_trial(self):
        spec, self.spec = self.spec, None
        if spec:
            self.running = frozenset({"t0000"})
        return spec


def test_trials_are_handed_out_when_there_is_a_place_and_the_end_is_said_when_none_can_come_back():
    conductor = Handing()
    assert RecordSearcher(conductor, FREE, dict, nothing).suggest("tune-1") == {"a": "spec"}
    assert RecordSearcher(conductor, FREE, dict, nothing).suggest("tune-2") is None, "it may have to be started again"
    conductor.spec = {"the same": "spec"}
    assert RecordSearcher(conductor, TAKEN, dict, nothing).suggest("tune-2") is None
    assert RecordSearcher(conductor, FREE, dict, nothing).suggest("tune-2") == {"the same": "spec"}
    conductor.running, conductor.awaiting = frozenset(), frozenset({"t0000"})
    assert RecordSearcher(conductor, FREE, dict, nothing).suggest("tune-3") is None, "its machine may prove lost"
    conductor.awaiting = frozenset()
    assert RecordSearcher(conductor, FREE, dict, nothing).suggest("tune-3") == "FINISHED"


def test_turns_go_on_while_a_trial_waits_for_its_verdict_and_none_runs():
    """Tune's loop makes none as long as no trial is alive: nobody would see that a machine is gone, or hear Ctrl-C."""
    conductor, turns = Handing(), []
    searcher = RecordSearcher(conductor, FREE, dict, lambda: turns.append(1))
    searcher.suggest("tune-1")
    assert (searcher.suggest("tune-2"), len(turns)) == (None, 1), "one runs: Tune's own turns go on"
    conductor.running, conductor.awaiting = frozenset(), frozenset({"t0000"})
    assert (searcher.suggest("tune-2"), searcher.suggest("tune-2"), len(turns)) == (None, None, 3)


def test_notes_are_said_with_their_trial_and_a_refusal_fails_it():
    said, conductor = [], Noting()
    scheduler = RecordScheduler(conductor, said.append)
    assert scheduler.on_trial_result(None, TRIAL, RECORD | {keys.NOTES: json.dumps(["a note"])}) == "CONTINUE"
    assert scheduler.on_trial_result(None, TRIAL, {keys.REFUSAL: "too large"}) == "STOP"
    assert said == ["t0000: a note"]
    assert conductor.told == [("t0000", 1), ("t0000", "too large")]


def test_no_waiting_trial_is_chosen_for_a_process_that_came_free():
    """Tune would cancel the process that is being started for it."""
    waiting = SimpleNamespace(status="PENDING")
    controller = SimpleNamespace(get_trials=lambda: [waiting], get_live_trials=lambda: {waiting})
    assert RecordScheduler(Noting(), nothing).choose_trial_to_run(controller) is None


GIVEN_UP = """Failure # 1 (occurred at 2026-11-23_09-20-57)
The actor died unexpectedly before finishing this task.
\tclass_name: with_resources.<locals>.ResourceTrainable
\tactor_id: 4e156c4a087b6b95ab85ab1801000000
\tpid: 1643
\tip: 192.0.2.2
The actor is dead because all references to the actor were removed including lineage ref count.
The actor never ran - it was cancelled before it started running.
"""
REFERENCES = "all references to the actor were removed including lineage ref count."


class Tried:
    """A trial that Tune has an account of."""

    trial_id, config = TRIAL.trial_id, TRIAL.config

    def __init__(self, error_file):
        self.error_file = error_file


@pytest.fixture
def failed(tmp_path):
    """`failed(account)`: a trial that Tune gives this account of."""

    def make(account):
        (tmp_path / "error.txt").write_text(account)
        return Tried(str(tmp_path / "error.txt"))

    return make


def test_a_start_that_ray_gave_up_is_no_attempt_and_five_in_a_row_end_the_search(failed):
    conductor = Noting()
    lost = LostMachines(lambda: frozenset({"192.0.2.2"}), "", nothing, nothing)
    hook = DriverCallback(conductor, lost, 60.0, lambda: True)
    for _ in range(4):
        hook.on_trial_error(1, [], failed(GIVEN_UP))
    hook.on_trial_result(1, [], failed(""), {})
    for _ in range(4):
        hook.on_trial_error(1, [], failed(GIVEN_UP))
    assert conductor.told == [("t0000", False)] * 8
    with pytest.raises(SearchStopped) as stopped:
        hook.on_trial_error(1, [], failed(GIVEN_UP))
    assert "Ray must be able to start the processes of trials; got 5 starts of t0000" in str(stopped.value.fault)
    assert conductor.told == [("t0000", False)] * 9, "it is written down, and no trial is to blame"


def test_machines_that_are_lost_while_trials_wait_for_them_end_no_search(failed):
    conductor = Noting()
    hook = callback(conductor)  # of whose machines none is left
    for _ in range(20):
        hook.on_trial_error(1, [], failed(GIVEN_UP))
    assert conductor.told == [("t0000", False)] * 20


@pytest.mark.parametrize("cause", ["its worker process has died. Worker exit type: X", "it was killed by `ray.kill`."])
def test_a_process_that_dies_or_hangs_while_it_begins_is_an_attempt(failed, cause):
    conductor = Noting()
    lost = LostMachines(lambda: frozenset({"192.0.2.2"}), "", nothing, nothing)
    hook = DriverCallback(conductor, lost, 60.0, lambda: True)
    for _ in range(10):
        hook.on_trial_error(1, [], failed(GIVEN_UP.replace(REFERENCES, cause)))
    assert conductor.told == [("t0000", True)] * 10


DIED = """Failure # 1 (occurred at 2026-11-23_09-20-57)
The actor died unexpectedly before finishing this task.
\tpid: 311
\tip: 192.0.2.7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
"""


@pytest.mark.parametrize(
    ("machine", "outcome"),
    [("192.0.2.7", "its machine is gone"), ("192.0.2.7", "its machine is there"), ("192.0.2.1", "it was the driver's")],
)
def test_a_last_attempt_is_given_up_when_its_machine_is_known_to_be_there(tmp_path, failed, machine, outcome):
    """Ray finds out that a machine is gone when its processes are long dead."""
    values = {"name": "s", "dataset": {"layout": "synthetic"}, "budget": {"trials": 1}, "runtime": {"max_attempts": 1}}
    conductor = Conductor(SearchPlan(SearchConfig.model_validate(values)), Storage(str(tmp_path / "s")), nothing, 1)
    alive, now = {"192.0.2.1", "192.0.2.7"}, [0.0]
    lost = LostMachines(
        lambda: frozenset(alive), "192.0.2.1", conductor.excuse, conductor.convict, clock=lambda: now[0]
    )
    hook = DriverCallback(conductor, lost, 60.0, lambda: True)
    spec = conductor.next_trial()
    hook.on_trial_error(1, [], failed(DIED.replace("192.0.2.7", machine)))
    state = conductor.trials[spec.trial_id].state
    assert state == ("failed" if outcome == "it was the driver's" else "unfinished")
    now[0] = 60.0
    if outcome == "its machine is gone":
        alive.discard("192.0.2.7")
    hook.turn()
    now[0] = 121.0
    hook.turn()
    if outcome == "its machine is gone":
        assert conductor.next_trial() == spec
    else:
        assert conductor.trials[spec.trial_id].state == "failed"
        assert conductor.next_trial() is None
