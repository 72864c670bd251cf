"""One driver a search."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from waiting import PATIENCE

from search.record.driver_process import DriverProcess
from search.record.elapsed_time import ElapsedTime
from search.record.lease import Lease, SearchTakenError
from search.record.signs_of_life import Watch, current_holder, file_of, last_generation
from trainable.errors import InputError, SearchFaultError
from trainable.record.storage import Storage, StorageError

HERE = DriverProcess.current()
ELSEWHERE = DriverProcess("elsewhere", 7, "another machine", "its processes", 1)


class Clock(ElapsedTime):
    """One that a test sets; whoever waits finds that the time has passed, and what `meanwhile` does done."""

    def __init__(self, now=1000.0):
        self.time = now
        self.slept = []
        self.meanwhile = {}

    def now(self):
        return self.time

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
        for due in [due for due in self.meanwhile if due <= sum(self.slept)]:
            self.meanwhile.pop(due)()


@pytest.fixture
def folder(tmp_path):
    return Storage(str(tmp_path / "search"))


@pytest.fixture
def clock():
    return Clock()


def lease_of(folder, clock, here=ELSEWHERE):
    """A lease of a machine whose clock shows something else altogether."""
    return Lease(folder, clock=clock, here=here)


def facts_of(folder, generation):
    return json.loads(folder.read(file_of(generation)))


def killed_driver(folder):
    """The file of a driver that was killed on this machine."""
    code = "import os, sys; from search.record.lease import Lease; from trainable.record.storage import Storage\n"
    code += "Lease(Storage(sys.argv[1])).__enter__(); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, folder.url], check=False).returncode == 9


def older_file(folder, **facts):
    """A lease as the versions wrote it that did not number them."""
    values = {"token": "x", "host": "elsewhere", "pid": 7, "time": time.time()}
    folder.write("driver.json", json.dumps(values | facts).encode())


def test_a_lease_is_held_and_given_back(folder):
    with Lease(folder):
        assert f"process {os.getpid()} on " in current_holder(folder)
    assert current_holder(folder) is None
    with Lease(folder):
        assert current_holder(folder) is not None
    assert folder.names("driver") == ["0001.json", "0002.json"]


def test_what_a_killed_driver_has_left_half_written_is_cleared_away(folder):
    folder.write("trials/t0000/.writing-0123", b"half")
    with Lease(folder):
        assert not list(folder.local_path.rglob(".writing-*"))


def test_a_second_driver_is_refused_at_once_with_who_the_first_is(folder, clock):
    with Lease(folder), pytest.raises(InputError, match=rf"one driver at a time .*got process {os.getpid()} on .* 0 s"):
        Lease(folder).take()
    clock.time = ElapsedTime().now()
    container = replace(HERE, pids="another container's")
    with Lease(folder), pytest.raises(SearchTakenError, match="heard of 0 s ago"):
        Lease(folder, clock=clock, here=container).take()
    assert clock.slept == []


def test_a_driver_that_was_killed_on_this_machine_is_forgotten_at_once(folder):
    killed_driver(folder)
    assert facts_of(folder, 1)["given_back"] is False
    assert current_holder(folder) is None
    with Lease(folder):
        assert f"process {os.getpid()} on " in current_holder(folder)


def test_a_driver_of_this_machine_that_lives_and_is_silent_is_forgotten(folder, clock):
    """One that hangs, or could not say that it was done; one that sleeps finds out when it wakes."""
    first = Lease(folder, clock=clock)
    first.take()
    clock.time += 89
    with pytest.raises(SearchTakenError, match="heard of 89 s ago"):
        Lease(folder, clock=clock).take()
    clock.time += 1
    Lease(folder, clock=clock).take()
    assert clock.slept == []
    with pytest.raises(SearchFaultError, match=rf"process {os.getpid()} on .* took over while this one was not heard"):
        first.require_held()


def test_a_driver_elsewhere_is_forgotten_after_90_seconds_of_silence_here(folder, clock):
    lease_of(folder, Clock(10**9)).take()
    said = []
    Lease(folder, said.append, clock=clock).take()
    assert 90 <= sum(clock.slept) < 94
    (line,) = said
    assert line.startswith("process 7 on elsewhere drove this search and did not say that it ended: looking for 90 s")
    assert last_generation(folder) == 2


def test_a_driver_elsewhere_that_renews_is_found_to_live(folder, clock):
    other = lease_of(folder, Clock(0.0))
    other.take()
    clock.meanwhile[20] = other.renew
    with pytest.raises(SearchTakenError, match="got process 7 on elsewhere, heard of 0 s ago"):
        Lease(folder, clock=clock).take()
    assert sum(clock.slept) == 20
    other.require_held()


@pytest.mark.parametrize("wrong_by", [-100_000, -120, -90, 90, 120, 100_000])
def test_a_clock_that_is_wrong_steals_no_lease(folder, clock, monkeypatch, wrong_by):
    other = lease_of(folder, Clock(clock.time + wrong_by))
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + wrong_by)
        other.take()
        clock.meanwhile = dict.fromkeys(range(20, 200, 20), other.renew)
    with pytest.raises(SearchTakenError):
        Lease(folder, clock=clock).take()
    other.require_held()
    assert last_generation(folder) == 1


def test_a_driver_elsewhere_that_ends_is_not_waited_for(folder, clock):
    other = lease_of(folder, Clock(0.0))
    other.take()
    clock.meanwhile[10] = other.give_back
    Lease(folder, clock=clock).take()
    assert sum(clock.slept) == 10


@pytest.mark.parametrize("name", ["driver.json", "driver/0003.json"])
def test_a_damaged_lease_holds_nothing(folder, clock, name):
    folder.write(name, b'{"host": "els')
    assert Watch(folder, clock, HERE).look().alive == []
    Lease(folder, clock=clock).take()
    assert clock.slept == []


def test_names_that_are_no_numbers_are_no_leases(folder):
    for name in ("x.json", "²3.json", "0004.txt", "-5.json"):
        folder.write(f"driver/{name}", b"{}")
    assert last_generation(folder) == 0


def test_an_older_versions_driver_is_respected_and_its_clock_is_not_asked(folder, clock):
    older_file(folder, time=0)
    clock.meanwhile[20] = lambda: older_file(folder, time=20)
    with pytest.raises(SearchTakenError, match="got process 7 on elsewhere"):
        Lease(folder, clock=clock).take()
    clock.meanwhile = {sum(clock.slept) + 20: lambda: folder.delete("driver.json")}
    Lease(folder, clock=clock).take()
    assert sum(clock.slept) == 40


def test_an_older_versions_driver_that_sleeps_finds_out_by_its_own_file(folder, clock):
    older_file(folder)
    lease = Lease(folder, clock=clock)
    lease.take()
    assert sum(clock.slept) >= 90
    older = json.loads(folder.read("driver.json"))
    assert older["token"] == facts_of(folder, 1)["token"]
    assert older["time"] == pytest.approx(time.time(), abs=60), "a version that compares clocks respects it"
    lease.give_back()
    assert "driver.json" not in folder.names()
    assert current_holder(folder) is None


class Stepped(Storage):
    """A storage of one driver that stops before each of its calls until it is told to go on, as a slow one does."""

    def __init__(self, url, stopped, go_on):
        super().__init__(url)
        self._stopped, self._go_on = stopped, go_on

    def _step(self):
        self._stopped.release()
        assert self._go_on.acquire(timeout=PATIENCE)

    def read(self, name):
        self._step()
        return super().read(name)

    def names(self, folder=""):
        self._step()
        return super().names(folder)

    def create(self, name, data):
        self._step()
        return super().create(name, data)

    def write(self, name, data):
        self._step()
        super().write(name, data)

    def delete(self, name):
        self._step()
        super().delete(name)


class Driver:
    """Takes a lease on a thread of its own, a call of the storage at a time."""

    def __init__(self, url):
        self._stopped, self._go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.outcome = None
        self.lease = Lease(Stepped(url, self._stopped, self._go_on), renew_seconds=1000)
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()
        assert self._stopped.acquire(timeout=PATIENCE)

    def _take(self):
        try:
            self.lease.__enter__()
            self.outcome = "holds it"
        except SearchTakenError:
            self.outcome = "is refused"
        finally:
            self._stopped.release()

    def step(self):
        """One call of the storage; nothing once there are no more."""
        if self.outcome is None:
            self._go_on.release()
            assert self._stopped.acquire(timeout=PATIENCE)


@pytest.mark.parametrize("ahead", range(12))
def test_of_two_drivers_that_find_a_dead_ones_lease_at_once_one_gets_it(folder, ahead):
    """One has made so many calls when the other comes, overtakes it and is done; then it goes on."""
    killed_driver(folder)
    one, other = Driver(folder.url), Driver(folder.url)
    for _ in range(ahead):
        one.step()
    while other.outcome is None:
        other.step()
    while one.outcome is None:
        one.step()
    assert sorted([one.outcome, other.outcome]) == ["holds it", "is refused"]


def test_a_driver_that_was_about_to_take_over_long_ago_finds_the_number_taken(folder, clock):
    """It looked when the first was dead; since then two have driven the search, and one still does."""
    killed_driver(folder)
    late = Lease(folder, clock=clock)
    heard = Watch(folder, clock, HERE).look()
    Lease(folder, clock=clock).__enter__().__exit__(None, None, None)
    with Lease(folder):
        late._generation = heard.generation + 1
        with pytest.raises(SearchTakenError):
            late._create()
        assert last_generation(folder) == 3


def test_who_was_taken_for_dead_learns_it_before_it_writes_and_leaves_the_lease_alone(folder):
    sleeper, others = Clock(), Clock()
    lease = lease_of(folder, sleeper)
    lease.take()
    lease.folder.write("trials/t0000/config.json", b"its own")
    Lease(folder, clock=others).take()
    sleeper.time += sum(others.slept)
    assert lease.held, "it was asleep, and has asked nobody"
    for change in (
        lambda: lease.folder.child("trials", "t0000").write("config.json", b"too late"),
        lambda: lease.folder.create("trials/t0001/config.json", b"too late"),
        lambda: lease.folder.delete("trials/t0000/config.json"),
        lambda: lease.folder.delete_folder("trials"),
        lambda: lease.folder.delete_unfinished(""),
    ):
        with pytest.raises(SearchFaultError, match=rf"process {os.getpid()} on .*, which took over while this one"):
            change()
    assert not lease.held
    assert folder.read("trials/t0000/config.json") == b"its own"
    lease.give_back()
    assert facts_of(folder, 2)["given_back"] is False


def test_who_was_asleep_and_taken_for_nothing_goes_on(folder):
    clock = Clock()
    lease = lease_of(folder, clock)
    lease.take()
    before = folder.read(file_of(1))
    clock.time += 10_000
    lease.require_held()
    assert folder.read(file_of(1)) != before, "others see that it is back"


def test_a_driver_that_comes_back_just_when_it_is_taken_for_dead_is_waited_for(folder, clock):
    """It renewed between the last look at it and the new driver's file, and is sure of its lease."""
    back = lease_of(folder, clock)
    back.take()
    said = []
    new = Lease(folder, said.append, clock=clock)
    create = new._create

    def late():
        back.renew()
        create()

    new._create = late
    sure = []
    clock.meanwhile[92] = lambda: sure.append(back.sure)
    new.take()
    assert sure == [True]
    assert "process 7 on elsewhere was silent and is back: waiting until it knows" in said[-1]
    assert not back.sure, "at no moment are both"
    with pytest.raises(SearchFaultError):
        back.require_held()
    new.require_held()


def test_a_lease_that_was_given_back_allows_nothing(folder):
    """A thread of the driver may still be at work when it has given it back."""
    with Lease(folder) as lease:
        lease.folder.write("a", b"1")
    with pytest.raises(SearchFaultError, match="this driver has given it back"):
        lease.folder.delete("a")
    assert folder.read("a") == b"1"


def test_a_full_disk_hides_no_reason_and_keeps_nobody_out(folder, monkeypatch):
    def full(*_):
        raise StorageError("it must be writable", "no space left", "Free space there")

    def launch():
        with Lease(folder):
            monkeypatch.setattr(Storage, "write", full)
            raise SearchFaultError("it must go on", "why the search ended", "Mend it")

    with pytest.raises(SearchFaultError, match="why the search ended"):
        launch()
    monkeypatch.undo()
    assert facts_of(folder, 1)["given_back"] is False
    clock = Clock(ElapsedTime().now() + 90)
    Lease(folder, clock=clock).take()
    assert clock.slept == []


def test_a_lease_whose_files_were_deleted_is_nobody_elses_yet(folder, clock):
    lease = Lease(folder, clock=clock)
    lease.take()
    folder.delete_folder("driver")
    lease.renew()
    assert lease.held
    assert last_generation(folder) == 1


def test_whoever_deletes_the_lease_and_takes_it_has_taken_over(folder, clock):
    lease_of(folder, clock).take()
    with Lease(folder, clock=clock) as lease:
        folder.delete_folder("driver")
        lease_of(folder, clock).take()
        lease.renew()
        assert not lease.held


def test_a_lease_is_renewed_by_itself(folder):
    with Lease(folder, renew_seconds=0.05):
        first = folder.read(file_of(1))
        deadline = time.monotonic() + 10
        while folder.read(file_of(1)) == first and time.monotonic() < deadline:
            time.sleep(0.02)
        assert folder.read(file_of(1)) != first


def test_a_lease_that_is_lost_is_found_out_by_itself(folder):
    with Lease(folder, renew_seconds=0.05) as lease:
        folder.write(file_of(2), json.dumps({"token": "y", **ELSEWHERE.facts()}).encode())
        deadline = time.monotonic() + 10
        while lease.held and time.monotonic() < deadline:
            time.sleep(0.02)
        with pytest.raises(SearchFaultError, match="process 7 on elsewhere, which took over"):
            lease.require_held()
