"""Two drivers, a storage that is slow, and clocks that know nothing of each other.

A driver is stopped before and after each of its calls of the storage, and goes on when hypothesis says so: meanwhile
the other works, time passes, one dies, another comes. Each machine's clock shows what it likes; all run at one speed.
"""

import json
import threading
import uuid

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from search.record.driver_process import DriverProcess
from search.record.elapsed_time import ElapsedTime
from search.record.lease import Lease, SearchTakenError
from search.record.signs_of_life import VALID_SECONDS, file_of
from trainable.errors import SearchFaultError
from trainable.record.storage import Storage

PATIENCE = 60
OVERSLEPT = 30.0
"""Whoever waits for 2 seconds is woken after 30: a watch is a few looks long."""


class Killed(BaseException):
    """Ends a driver's thread where it is."""


class MachineClock(ElapsedTime):
    """The world's time, from a beginning of its own."""

    def __init__(self, driver, offset):
        self._driver, self._offset = driver, offset

    def now(self):
        return self._driver.world.now + self._offset

    def sleep(self, seconds):
        self._driver.stop("sleep", due=self._driver.world.now + max(seconds, OVERSLEPT))


class SlowStorage(Storage):
    """A driver's own way to the storage."""

    def __init__(self, url, driver):
        super().__init__(url)
        self._driver = driver

    def read(self, name):
        with self._driver.call("read"):
            data = super().read(name)
            self._driver.seen[name] = (self._driver.world.now, data)
        return data

    def names(self, folder=""):
        with self._driver.call("names"):
            return super().names(folder)

    def create(self, name, data):
        self._driver.world.begun[data] = self._driver.world.now
        with self._driver.call("create"):
            self._driver.require_silence(name)
            self._driver.world.written[data] = (self._driver, self._driver.world.now)
            return super().create(name, data)

    def write(self, name, data):
        self._driver.world.begun[data] = self._driver.world.now
        with self._driver.call("write"):
            self._driver.world.written[data] = (self._driver, self._driver.world.now)
            super().write(name, data)


class Call:
    """A call of the storage takes effect at one moment; its driver may be stopped before and after."""

    def __init__(self, driver, kind):
        self._driver, self._kind = driver, kind

    def __enter__(self):
        self._driver.stop(self._kind)

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self._driver.stop("return")


class Driver:
    """Runs one thing at a time on a thread of its own, from stop to stop."""

    def __init__(self, world, number, machine, offset):
        self.world, self.number, self.seen = world, number, {}
        self.busy, self.dead, self.took, self.stopped_at, self._due = False, False, False, None, None
        here = DriverProcess(f"host-{machine}", number, machine)  # whether it lives cannot be told from elsewhere
        self.lease = Lease(SlowStorage(world.url, self), clock=MachineClock(self, offset), here=here)
        self._stopped, self._go_on, self._error = threading.Semaphore(0), threading.Semaphore(0), None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def begin(self, act):
        """Begin something, up to its first call of the storage."""
        self._act, self.busy = act, True
        self._switch()

    def go_on(self):
        """Up to the next stop; whoever sleeps has slept enough."""
        if self._due is not None:
            self.world.now = max(self.world.now, self._due)
        self._switch()

    def finish(self):
        for _ in range(1000):
            if not self.busy:
                return
            self.go_on()
        raise AssertionError("it never ends")

    def die(self):
        self.dead = True
        self._go_on.release()
        self._thread.join(timeout=PATIENCE)

    def stop(self, where, due=None):
        if self.dead:
            raise Killed  # again: no handler is any use to it
        self.stopped_at, self._due = where, due
        self._stopped.release()
        assert self._go_on.acquire(timeout=PATIENCE)
        if self.dead:
            raise Killed

    def call(self, kind):
        return Call(self, kind)

    @property
    def sure(self):
        return self.took and not self.dead and self.lease.sure

    def take(self):
        began = self.world.now
        try:
            self.lease.take()
            self.took = True
        except SearchTakenError:
            others = [when for driver, when in self.world.written.values() if driver is not self]
            assert max(others, default=-1e9) > began - VALID_SECONDS, "there was nobody who could have it"

    def write(self):
        try:
            self.lease.require_held()
        except SearchFaultError:
            assert not self.lease.held
        else:
            self.world.require_one_sure()
            assert self.sure, "what it may write now, it may not be sure of"

    def give_back(self):
        self.lease.give_back()

    def require_silence(self, name):
        """Whoever takes the next number has seen the last driver's end, or 90 seconds of its silence."""
        before = file_of(int(name.removeprefix("driver/").removesuffix(".json")) - 1)
        when, data = self.seen.get(before, (0.0, None))
        if data is not None and not json.loads(data)["given_back"]:
            assert when - self.world.begun[data] >= VALID_SECONDS, f"{before} was stolen"

    def _switch(self):
        self._go_on.release()
        assert self._stopped.acquire(timeout=PATIENCE)
        if self._error is not None:
            raise self._error

    def _run(self):
        while True:
            self._go_on.acquire()
            if self.dead:
                return
            try:
                self._act()
            except Killed:
                return
            except BaseException as error:
                self._error = error
            self.busy, self.stopped_at, self._due = False, None, None
            self._stopped.release()


MACHINES = st.sampled_from("ab")
WHICH = st.sampled_from([lambda drivers: drivers[0], lambda drivers: drivers[-1]])


class TwoDrivers(RuleBasedStateMachine):
    """At most two at a time; who is refused, has lost the lease or has given it back makes room for another."""

    @property
    def working(self):
        return [driver for driver in self.seats if driver is not None]

    def __init__(self):
        super().__init__()
        self.url = f"memory://two-drivers-{uuid.uuid4().hex}"
        self.now = 1000.0
        self.begun, self.written = {}, {}
        self.seats = [None, None]
        self.everyone = []

    def teardown(self):
        try:
            for driver in self.everyone:
                driver.die()
            # The dead do not keep the search from whoever comes next.
            heir, began = self.new_driver("c", 0.0), self.now
            heir.begin(heir.take)
            heir.finish()
            heir.die()
            assert heir.took
            assert self.now - began < VALID_SECONDS + 3 * OVERSLEPT
        finally:
            Storage(self.url).delete_folder("driver")

    def new_driver(self, machine, offset):
        self.everyone.append(Driver(self, len(self.everyone) + 1, machine, offset))
        return self.everyone[-1]

    @property
    def busy(self):
        return [driver for driver in self.working if driver.busy]

    @property
    def holders(self):
        return [driver for driver in self.working if driver.took and not driver.busy and driver.lease.held]

    @initialize(machine=MACHINES)
    def one_is_there(self, machine):
        self.one_comes(machine)
        self.working[0].finish()

    @precondition(lambda self: None in self.seats)
    @rule(machine=MACHINES)
    def one_comes(self, machine):
        driver = self.seats[self.seats.index(None)] = self.new_driver(machine, {"a": 5e6, "b": -900.0}[machine])
        driver.begin(driver.take)

    @precondition(lambda self: self.holders)
    @rule(which=WHICH, what=st.sampled_from(["renew", "renew", "write", "give_back"]))
    def one_begins(self, which, what):
        driver = which(self.holders)
        driver.begin(driver.lease.renew if what == "renew" else getattr(driver, what))

    @precondition(lambda self: self.busy)
    @rule(which=WHICH, stops=st.integers(1, 6))
    def one_goes_on(self, which, stops):
        driver = which(self.busy)
        while driver.busy and stops:
            driver.go_on()
            stops -= 1

    @precondition(lambda self: self.busy)
    @rule(which=WHICH, where=st.sampled_from(["create", "write", "names"]))
    def one_goes_on_to(self, which, where):
        driver = which(self.busy)
        driver.go_on()
        while driver.busy and driver.stopped_at != where:
            driver.go_on()

    @precondition(lambda self: self.busy)
    @rule(which=WHICH)
    def one_finishes(self, which):
        which(self.busy).finish()

    @precondition(lambda self: self.working)
    @rule(which=WHICH)
    def one_dies(self, which):
        driver = which(self.working)
        driver.die()
        self.seats[self.seats.index(driver)] = None

    @rule(seconds=st.sampled_from([1, 20, 45, 59, 61, 89, 91, 10_000]))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def require_one_sure(self):
        assert sum(driver.sure for driver in self.working) <= 1

    @invariant()
    def make_room(self):
        for seat, driver in enumerate(self.seats):
            if driver is not None and not driver.busy and not (driver.took and driver.lease.held):
                driver.die()
                self.seats[seat] = None


TwoDrivers.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_at_no_moment_are_two_drivers_sure_that_they_hold_the_lease = TwoDrivers.TestCase
