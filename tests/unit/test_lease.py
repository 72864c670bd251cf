"""One driver a search."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from search.lease import Lease, current_holder
from trainable.errors import InputError
from trainable.storage import Storage


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
