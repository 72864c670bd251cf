"""One driver a search."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from search.record.lease import Lease, current_holder
from trainable.errors import InputError, SearchFaultError
from trainable.record.storage import Storage


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "search"))


def held(folder, **facts):
    values = {"token": "x", "host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    folder.write("driver.json", json.dumps(values | facts).encode())


def test_a_lease_is_held_and_given_back(folder):
    with Lease(folder):
        assert current_holder(folder)["pid"] == os.getpid()
    assert current_holder(folder) is None
    with Lease(folder):
        assert current_holder(folder) is not None


def test_what_a_killed_driver_has_left_half_written_is_cleared_away(folder):
    folder.write("trials/t0000/.writing-0123", b"half")
    with Lease(folder):
        assert not list(folder.local_path.rglob(".writing-*"))


def test_a_second_driver_is_refused_with_who_the_first_is(folder):
    with Lease(folder), pytest.raises(InputError, match=rf"one driver at a time .*got process {os.getpid()} on"):
        Lease(folder).__enter__()


def test_a_dead_process_of_this_host_holds_nothing(folder):
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    held(folder, pid=int(child.stdout))
    assert current_holder(folder) is None
    with Lease(folder):
        assert current_holder(folder)["pid"] == os.getpid()


def test_another_host_holds_it_until_it_has_been_silent_for_90_seconds(folder):
    held(folder, host="elsewhere", pid=1, time=time.time() - 60)
    assert current_holder(folder)["host"] == "elsewhere"
    held(folder, host="elsewhere", pid=1, time=time.time() - 120)
    assert current_holder(folder) is None


def test_a_torn_lease_holds_nothing(folder):
    folder.write("driver.json", b'{"host": "els')
    assert current_holder(folder) is None


def test_a_living_process_of_this_host_that_has_been_silent_is_forgotten(folder):
    """Its id may have gone to another process since, and a driver that sleeps finds out when it wakes."""
    held(folder, time=time.time() - 60)
    assert current_holder(folder)["pid"] == os.getpid()
    held(folder, time=time.time() - 120)
    assert current_holder(folder) is None


def test_of_two_drivers_that_come_at_once_one_is_refused(folder, monkeypatch):
    """Neither sees the other when it looks."""
    monkeypatch.setattr("search.record.lease.current_holder", lambda folder: None)
    monkeypatch.setattr(Storage, "delete", lambda *_: None)
    with Lease(folder), pytest.raises(InputError, match="one driver at a time"):
        Lease(folder).__enter__()


def test_who_was_taken_for_dead_learns_it_and_leaves_the_lease_alone(folder):
    with Lease(folder, renew_seconds=0.05) as lease:
        lease.require_held()
        held(folder, host="elsewhere", pid=7)
        deadline = time.monotonic() + 10
        while lease.held and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(SearchFaultError, match="process 7 on elsewhere, which took over"):
            lease.require_held()
    assert current_holder(folder)["pid"] == 7


def test_a_lease_is_renewed(folder):
    with Lease(folder, renew_seconds=0.05):
        first = current_holder(folder)["time"]
        deadline = time.monotonic() + 10
        while current_holder(folder)["time"] == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert current_holder(folder)["time"] > first
