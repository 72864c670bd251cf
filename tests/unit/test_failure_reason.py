"""One line out of Tune's account of a failure."""

from search.run.tune_adaptors import failure_reason

RAISED = """Failure # 1 (occurred at 2026-11-22_13-50-00)
ray::Trainable.train() (pid=1)
ValueError: the first time
Failure # 2 (occurred at 2026-11-22_13-50-10)
ray::Trainable.train() (pid=2, ip=192.0.2.2)
  File "training.py", line 7, in step
    raise RuntimeError("the disk caught fire")
RuntimeError: the disk caught fire
"""

DIED = """Failure # 1 (occurred at 2026-11-22_13-50-00)
The actor died unexpectedly before finishing this task.
\tclass_name: Trainable
\tactor_id: 1234
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR
"""


def test_an_exception_gives_its_last_line_of_the_last_failure():
    assert failure_reason(RAISED) == "RuntimeError: the disk caught fire"


def test_a_dead_process_says_so_with_rays_reason():
    reason = failure_reason(DIED)
    assert reason.startswith("its process died: ")
    assert "SYSTEM_ERROR" in reason


def test_no_account_is_no_reason():
    assert failure_reason("") == "its process ended without a reason"
