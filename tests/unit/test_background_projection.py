"""A projection on its own thread: what it does in which order, and what it does when the projection is down."""

import itertools
import threading
import time
from dataclasses import dataclass, field

import pytest
from waiting import PATIENCE, wait_until

from search.project.background_projection import BackgroundProjection, TrackerUnreachableError, reason, within
from trainable.errors import InputError
from trainable.record.record_types import EpochRecord, TrialSnapshot, TrialSpec, trial_name


def snapshot(number, epochs=0):
    spec = TrialSpec(trial_name(number), number, {}, {}, False, 0)
    return TrialSnapshot(spec, tuple(EpochRecord(epoch, 0, 0.5, 1, {}) for epoch in range(1, epochs + 1)))


@dataclass
class Recorder:
    """Remembers what it was given; `gate` holds it up, `down` and `refused` make it fail."""

    name: str = "the tracker"
    seen: list = field(default_factory=list)
    attempts: list = field(default_factory=list)
    refused: set = field(default_factory=set)
    down: bool = False
    error: Exception = field(default_factory=lambda: ConnectionError("connection refused\nand a long trace"))
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def project(self, trial):
        self.entered.set()
        assert self.gate.wait(PATIENCE)
        self.attempts.append((trial.spec.trial_id, time.monotonic()))
        if self.down or trial.spec.trial_id in self.refused:
            raise self.error
        self.seen.append((trial.spec.trial_id, len(trial.epochs)))


@pytest.fixture
def recorder():
    recorder = Recorder()
    yield recorder
    recorder.gate.set()


@pytest.fixture
def said():
    return []


@pytest.fixture
def background(recorder, said):
    background = BackgroundProjection(recorder, said.append, first_retry=0.01)
    yield background
    recorder.gate.set()
    background.close(0)


def until(condition):
    wait_until(condition, "it", every=0.002)


def working():
    """Whether a thread of a projection is left."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("projection-")]


def test_trials_are_projected_in_the_order_in_which_they_were_offered(background, recorder, said):
    recorder.gate.set()
    for number in (2, 0, 1):
        background.offer(snapshot(number))
    assert background.close(PATIENCE) == 0
    assert recorder.seen == [("t0002", 0), ("t0000", 0), ("t0001", 0)]
    assert said == []


def test_offering_returns_at_once_while_the_projection_hangs(background, recorder):
    background.offer(snapshot(0))
    assert recorder.entered.wait(PATIENCE)
    for _ in range(100):
        background.offer(snapshot(1))
    assert recorder.attempts == [], "the first hangs as before"


def test_only_the_newest_snapshot_of_a_trial_waits(background, recorder):
    background.offer(snapshot(0))
    assert recorder.entered.wait(PATIENCE)
    for epochs in range(1, 6):
        background.offer(snapshot(1, epochs))
        background.offer(snapshot(0, epochs))
    recorder.gate.set()
    assert background.close(PATIENCE) == 0
    assert recorder.seen == [("t0000", 0), ("t0001", 5), ("t0000", 5)]


def test_a_failed_snapshot_is_tried_again_after_growing_delays(background, recorder):
    recorder.gate.set()
    recorder.down = True
    background.offer(snapshot(0, 1))
    until(lambda: len(recorder.attempts) >= 4)
    recorder.down = False
    until(lambda: recorder.seen)
    assert recorder.seen == [("t0000", 1)]
    times = [when for _, when in recorder.attempts]
    delays = [after - before for before, after in itertools.pairwise(times)]
    assert delays[0] >= 0.01
    assert delays[1] >= 0.02
    assert delays[2] >= 0.04


def test_a_snapshot_that_failed_does_not_replace_a_newer_one(background, recorder):
    recorder.down = True
    background.offer(snapshot(0, 1))
    assert recorder.entered.wait(PATIENCE)
    background.offer(snapshot(0, 2))
    recorder.gate.set()
    until(lambda: recorder.attempts)
    recorder.down = False
    assert background.close(PATIENCE) == 0
    assert recorder.seen[-1] == ("t0000", 2)
    assert len(recorder.seen) == 1


def test_an_outage_is_told_once_and_so_is_its_end(background, recorder, said):
    recorder.gate.set()
    recorder.down = True
    for number in range(4):
        background.offer(snapshot(number))
    until(lambda: len(recorder.attempts) >= 12)
    recorder.down = False
    until(lambda: len(recorder.seen) == 4)
    assert background.close(PATIENCE) == 0
    assert said == [
        "the tracker does not take records (ConnectionError: connection refused); "
        "the search goes on and fills in what is missing later",
        "the tracker takes records again",
    ]


def test_one_refused_trial_does_not_keep_the_others_back(recorder, said):
    recorder.gate.set()
    background = BackgroundProjection(recorder, said.append, first_retry=0.1)
    recorder.refused = {"t0000"}
    background.offer(snapshot(0))
    for number in range(1, 30):
        background.offer(snapshot(number))
    until(lambda: len(recorder.seen) == 29)
    until(lambda: [trial for trial, _ in recorder.attempts].count("t0000") >= 3)
    assert len(said) == 1, "the others' success is no news: the refused one is still missing"
    recorder.gate.clear()
    recorder.entered.clear()
    background.offer(snapshot(30))
    assert recorder.entered.wait(PATIENCE)
    threading.Timer(0.1, recorder.gate.set).start()
    assert background.close(PATIENCE) == 1
    assert recorder.seen[-1] == ("t0030", 0)
    assert len(said) == 1, "nor is it at the end"


def test_a_new_trial_need_not_wait_for_the_delay_of_another(recorder, said):
    recorder.gate.set()
    recorder.refused = {"t0000"}
    background = BackgroundProjection(recorder, said.append, first_retry=PATIENCE * 10)
    background.offer(snapshot(0))
    until(lambda: recorder.attempts)
    background.offer(snapshot(1))
    until(lambda: recorder.seen == [("t0001", 0)])
    assert background.close(PATIENCE) == 1
    assert [trial for trial, _ in recorder.attempts] == ["t0000", "t0001", "t0000"], "one last chance, and no delay"


def test_closing_while_down_tries_each_trial_once_and_does_not_spin(recorder, said):
    recorder.gate.set()
    recorder.down = True
    background = BackgroundProjection(recorder, said.append, first_retry=PATIENCE * 10)
    for number in range(3):
        background.offer(snapshot(number))
    until(lambda: len(recorder.attempts) == 3)
    assert background.close(PATIENCE) == 3
    assert [trial for trial, _ in recorder.attempts] == ["t0000", "t0001", "t0002"] * 2
    until(lambda: not working())
    assert len(recorder.attempts) == 6


def test_closing_gives_up_on_a_hanging_projection_and_counts_it(background, recorder, said):
    background.offer(snapshot(0))
    assert recorder.entered.wait(PATIENCE)
    background.offer(snapshot(1))
    assert background.close(0.1) == 2
    assert recorder.attempts == [], "it hangs as before"
    recorder.down = True
    recorder.gate.set()
    until(lambda: not working())
    assert len(recorder.attempts) == 1, "what hung and then failed is not tried again after closing"
    assert said == [], "its failure is no news any more: the caller has been told"


def test_closing_does_not_try_each_trial_where_nobody_can_be_reached(recorder, said):
    """Each attempt may take as long as a request may."""
    recorder.gate.set()
    recorder.down = True
    recorder.error = TrackerUnreachableError("nobody answers")
    background = BackgroundProjection(recorder, said.append, first_retry=PATIENCE * 10)
    for number in range(3):
        background.offer(snapshot(number))
    until(lambda: len(recorder.attempts) == 3)
    assert background.close(PATIENCE) == 3
    assert [trial for trial, _ in recorder.attempts] == ["t0000", "t0001", "t0002", "t0000"]
    assert len(said) == 1


def test_closing_waits_for_the_one_in_the_making(background, recorder):
    background.offer(snapshot(0))
    assert recorder.entered.wait(PATIENCE)
    threading.Timer(0.1, recorder.gate.set).start()
    assert background.close(PATIENCE) == 0
    assert recorder.seen == [("t0000", 0)]


def test_an_idle_projection_closes_at_once_and_twice(background):
    began = time.monotonic()
    assert background.close(PATIENCE) == 0
    assert background.close(PATIENCE) == 0
    assert time.monotonic() - began < PATIENCE


def test_an_error_without_a_message_is_told_by_its_name(recorder, said):
    recorder.gate.set()

    def fail(trial):
        raise TimeoutError

    recorder.project = fail
    background = BackgroundProjection(recorder, said.append)
    background.offer(snapshot(0))
    until(lambda: said)
    assert "(TimeoutError)" in said[0]
    background.close(0)


def caused(error, cause):
    error.__cause__ = cause
    return error


def test_an_error_is_told_by_what_lies_at_its_bottom():
    """MLflow wraps what its transport says, and the address alone fills a line."""
    refused = ConnectionRefusedError(111, "Connection refused")
    pooled = caused(OSError(f"Pool(host): {refused}"), refused)
    error = caused(RuntimeError(f"request to http://me:secret@host/api failed: {pooled}"), pooled)
    assert reason(error) == "ConnectionRefusedError: [Errno 111] Connection refused"


def test_an_error_that_does_not_quote_its_cause_is_told_itself():
    assert reason(caused(RuntimeError("no such key"), KeyError("colour"))) == "RuntimeError: no such key"
    assert reason(caused(RuntimeError("a host\nwith a trace"), OSError())) == "RuntimeError: a host"


def test_a_users_mistake_is_told_with_its_remedy():
    mistake = caused(InputError("x must be y", "z", "Write y"), ValueError("z"))
    assert reason(mistake) == "x must be y; got z. Write y."


def test_what_takes_too_long_is_left_to_itself():
    gate = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no end after 0.1 s"):
        within(0.1, gate.wait)
    assert time.monotonic() - began < PATIENCE
    gate.set()


def test_what_ends_in_time_is_waited_for_and_raises_what_it_raises():
    done = []
    within(PATIENCE, lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        within(PATIENCE, lambda: 1 / 0)
