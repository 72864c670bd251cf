"""A machine that is gone is no fault of its trials; a process that died is."""

import pytest

from search.run.lost_machines import LostMachines
from trainable.record.record_types import FailureRecord

NODE_DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: SegmentationTrainable
\tpid: 311
\tip: 192.0.2.7
The actor died because its node has died. Node Id: 3f
\tthe actor's node was terminated unexpectedly: health check failed due to missing too many heartbeats
"""
DRAINED = """The actor died unexpectedly before finishing this task.
\tip: 192.0.2.9
The actor died because its node has died. Node Id: 3f
\tthe actor's node was preempted: the spot instance is reclaimed
"""
PROCESS_DIED = """The actor died unexpectedly before finishing this task.
\tpid: 311
\tip: 192.0.2.7
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
"""
RAISED = """ray::SegmentationTrainable.train() (pid=2, ip=192.0.2.7)
RuntimeError: the disk caught fire
"""
FAILURE = FailureRecord(1, 1, "its process died", True, 0)


class Watch:
    def __init__(self, *alive):
        self.alive, self.time, self.excused, self.convicted = frozenset(alive), 0.0, [], []
        self.lost = LostMachines(
            lambda: self.alive,
            "192.0.2.1",
            lambda trial_id, failure: self.excused.append((trial_id, failure)),
            self.convicted.append,
            lambda: self.time,
        )


@pytest.mark.parametrize("account", [NODE_DIED, DRAINED])
def test_a_machine_that_ray_has_given_up_is_lost(account):
    assert Watch("192.0.2.7", "192.0.2.9").lost.is_one(account)


@pytest.mark.parametrize("account", [PROCESS_DIED, RAISED, ""])
def test_what_fails_on_a_machine_that_is_alive_is_the_trials_own(account):
    assert not Watch("192.0.2.7").lost.is_one(account)


def test_a_process_whose_machine_is_no_longer_there_went_with_it():
    assert Watch("192.0.2.1").lost.is_one(PROCESS_DIED)
    assert not Watch("192.0.2.1").lost.is_one(RAISED), "it lived to tell what was wrong"


def test_a_failure_is_excused_when_its_machine_turns_out_to_be_gone():
    watch = Watch("192.0.2.1", "192.0.2.7")
    watch.lost.suspect("t0001", FAILURE, PROCESS_DIED)
    watch.lost.look()
    assert watch.excused == []
    watch.time, watch.alive = 60.0, frozenset({"192.0.2.1"})
    watch.lost.look()
    watch.lost.look()
    assert watch.excused == [("t0001", FAILURE)]


def test_a_machine_that_dies_long_after_a_failure_had_nothing_to_do_with_it():
    watch = Watch("192.0.2.7")
    watch.lost.suspect("t0001", FAILURE, PROCESS_DIED)
    watch.time = 121.0
    watch.lost.look()
    watch.alive = frozenset()
    watch.lost.look()
    assert (watch.excused, watch.convicted) == ([], ["t0001"])


@pytest.mark.parametrize(
    ("account", "suspected"),
    [(PROCESS_DIED, True), (PROCESS_DIED.replace("192.0.2.7", "192.0.2.1"), False), (RAISED, False), ("", False)],
    ids=["elsewhere", "on the driver's machine", "an exception", "no account"],
)
def test_only_a_process_that_died_on_another_machine_may_have_gone_with_it(account, suspected):
    assert Watch("192.0.2.1", "192.0.2.7").lost.may_be_one(account) is suspected
