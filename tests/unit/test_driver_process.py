"""Whether a driver's process has ended, told on its own machine and nowhere else."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from waiting import PATIENCE

from search.record.driver_process import DriverProcess

HERE = DriverProcess.current()
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux says when a process was started")


@pytest.fixture
def started():
    """`started(code)`: a process that prints its facts and then does what `code` says; it ends with the test."""
    processes = []

    def start(code):
        program = f"import json, sys, time; from search.record.driver_process import DriverProcess as D\n{code}"
        command = [sys.executable, "-c", program]
        processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return processes[-1], DriverProcess.parsed(json.loads(processes[-1].stdout.readline()))

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=PATIENCE)


SAY = "print(json.dumps(D.current().facts()), flush=True)"


def test_this_process_lives():
    assert not HERE.has_ended(HERE)
    assert HERE.pid == os.getpid()
    assert DriverProcess.parsed(HERE.facts()) == HERE


def test_a_process_has_ended_when_it_is_gone_and_not_before(started):
    process, told = started(f"{SAY}; sys.stdin.read()")
    assert told.pid == process.pid
    assert told.shares_clock(HERE)
    assert not told.has_ended(HERE)
    process.communicate(timeout=PATIENCE)
    assert told.has_ended(HERE)


@LINUX
def test_a_process_that_nobody_has_waited_for_has_ended(started):
    """A container's first process may be one that never does."""
    process, told = started(SAY)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert told.has_ended(HERE)
    assert process.returncode is None


@LINUX
def test_a_later_process_with_the_same_id_is_another():
    assert replace(HERE, started=HERE.started - 1).has_ended(HERE)


def test_nothing_is_known_of_a_process_elsewhere():
    """Another container, a machine of the same name, this machine before it was started anew."""
    dead = replace(HERE, pid=2**31 - 1)
    assert dead.has_ended(HERE)
    assert not replace(dead, machine="another").has_ended(HERE)
    assert not replace(dead, pids="another container's").has_ended(HERE)
    assert not replace(dead, machine=None).has_ended(replace(HERE, machine=None))
    assert not replace(dead, pids=None).has_ended(replace(HERE, pids=None))
    assert replace(dead, pids="another container's").shares_clock(HERE)
    assert not replace(dead, machine="another").shares_clock(HERE)


@pytest.mark.parametrize(
    "facts", [{}, {"host": "h"}, {"host": "h", "pid": "x"}, {"host": "h", "pid": -1}, {"host": "h", "pid": 2**40}]
)
def test_what_is_no_process_is_refused(facts):
    with pytest.raises((ValueError, KeyError)):
        DriverProcess.parsed(facts)
