"""One driver a search: whoever takes the next number drives it, as long as it is heard of."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Final, Self

from search.record.driver_process import DriverProcess
from search.record.elapsed_time import ElapsedTime
from search.record.signs_of_life import (
    OLDER_FILE,
    VALID_SECONDS,
    Sign,
    Watch,
    file_of,
    last_generation,
    read_sign,
)
from trainable.errors import InputError, SearchFaultError
from trainable.record.storage import Storage, StorageError

_RENEW_SECONDS: Final = 20.0
_SURE_SECONDS: Final = 60.0
"""For so long after it was heard of, a driver can be sure that nobody has taken over: shorter than VALID_SECONDS."""
_LOOK_SECONDS: Final = 1.0
_RULE: Final = "a search has one driver at a time"


class SearchTakenError(InputError):
    """Another driver works on the search: it passes by itself."""

    exit_code: ClassVar[int] = 75  # EX_TEMPFAIL of sysexits.h


class Lease:
    """Held while a driver works on a search; a context manager.

    Each driver creates the file with the next number, `driver/0007.json`, which of several succeeds for one alone. The
    highest number holds the lease. Its driver writes its file again every 20 seconds, and at last that it is done. The
    files stay: a driver that was about to create one long ago finds it there.

    The next number may be taken when the last driver is done, when its process is gone from this machine, or when its
    file has not changed for 90 seconds, which whoever wants to take over measures itself. Clocks of different machines
    are never compared.

    A driver is sure that it holds the lease for 60 seconds from before its last renewal, if no higher number was there
    after it. One that was asleep for longer is no longer sure, renews, and so finds out. At no moment are two drivers
    sure. Whoever takes over from a silent driver looks at its file once more, and where that has changed after all,
    waits until that driver has found out.

    What a lease cannot do: a process may be stopped between that check and its write, for as long as it likes.
    That write comes late, and nothing but the storage could refuse it. This is why what must not be written twice is
    created, not replaced (`Storage.create`). On a server without conditional writes, two that take the same
    number at the very same moment are told apart only when the first of them renews.

    Args:
        folder: The search's folder.
        say: Told why taking it takes a while, where it does.
        renew_seconds: Between renewals.
        clock: Of this machine.
        here: This process.
    """

    def __init__(
        self,
        folder: Storage,
        say: Callable[[str], None] = lambda line: None,
        *,
        renew_seconds: float = _RENEW_SECONDS,
        clock: ElapsedTime | None = None,
        here: DriverProcess | None = None,
    ) -> None:
        self._folder = folder
        self._say = say
        self._renew_seconds = renew_seconds
        self._clock = clock or ElapsedTime()
        self._here = here or DriverProcess.current()
        self._token = uuid.uuid4().hex
        self._generation = 0
        self._sure_until = 0.0
        self._replaces_older = False
        self._over: str | None = None
        self._renewing = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)

    @property
    def folder(self) -> Storage:
        """The search's folder, in which nothing is changed without the lease."""
        return self._folder.guarded(self.require_held)

    def __enter__(self) -> Self:
        """Take the lease, and clear away what killed drivers have left half-written.

        Raises:
            SearchTakenError: Another driver holds it.
        """
        self.take()
        self._thread.start()
        try:
            self._folder.delete_unfinished("")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back."""
        self._done.set()
        self._thread.join(timeout=5)
        self.give_back()

    @property
    def held(self) -> bool:
        """False once it is given back, or known that another driver has taken over; asks nobody."""
        return self._over is None

    @property
    def sure(self) -> bool:
        """Whether no other driver can have taken over by now; asks nobody."""
        return self.held and self._clock.now() < self._sure_until

    def require_held(self) -> None:
        """Check that no other driver has taken over, just before something is written.

        Raises:
            SearchFaultError: One has, after this process was silent for so long that it passed for dead.
            StorageError: This process was silent for long, and the storage does not say.
        """
        while self.held and not self.sure:
            self.renew()
        if self._over is not None:
            raise SearchFaultError(
                f"{_RULE} ({self._folder.url})", self._over, "Let that one go on; nothing that was recorded is lost"
            )

    def take(self) -> None:
        """Take the lease; it has to be renewed.

        Raises:
            SearchTakenError: Another driver holds it.
        """
        heard = Watch(self._folder, self._clock, self._here).until_known(self._say)
        if heard.alive:
            raise self._taken(heard.alive[0])
        self._generation = heard.generation + 1
        before = self._clock.now()
        self._create()
        self._sure_until = before + _SURE_SECONDS
        try:
            for sign in heard.silent:
                self._wait_until_it_knows(sign)
            self._tell_older_versions()
        except BaseException:
            self.give_back()
            raise

    def renew(self) -> None:
        """Give a sign of life, and look whether another driver has taken over.

        Raises:
            StorageError: It failed; the lease ages.
        """
        with self._renewing:
            if not self.held:
                return
            before = self._clock.now()
            if overtaken := self._overtaken():
                self._lose(overtaken)
                return
            self._folder.write(file_of(self._generation), self._facts())
            # Looking comes last: who takes over later than this has seen the file that was just written.
            last = last_generation(self._folder)
            if last > self._generation:
                self._lose(last)
            else:
                self._sure_until = max(self._sure_until, before + _SURE_SECONDS)

    def give_back(self) -> None:
        """Say that this driver is done, for the next to begin at once.

        Where the storage fails, the lease ages instead; why the driver ends is for others to say.
        """
        if not self.held:
            return
        self._over = "whoever comes next: this driver has given it back"  # first: from now on it writes nothing
        with suppress(StorageError):
            if not self._overtaken():
                self._folder.write(file_of(self._generation), self._facts(given_back=True))
                if self._replaces_older:
                    self._folder.delete(OLDER_FILE)

    def _create(self) -> None:
        name = file_of(self._generation)
        if self._folder.create(name, self._facts()):
            return
        # A client that repeats a request whose answer was lost is told that the file is there: its own.
        sign = read_sign(self._folder, name)
        if sign is None or sign.token != self._token:
            raise self._taken("another process" if sign is None else str(sign.process))

    def _wait_until_it_knows(self, silent: Sign) -> None:
        """Wait for a driver that was silent and gave a sign of life after all, just when it was taken for dead.

        It was sure to hold the lease when our number was not there yet, and is for so long at the most.
        """
        until = self._clock.now() + _SURE_SECONDS
        sign = read_sign(self._folder, silent.name)
        if sign is None or sign.content == silent.content:
            return
        self._say(f"{sign.process} was silent and is back: waiting until it knows that this one takes over")
        while not sign.is_over(self._here) and self._clock.now() < until:
            self._clock.sleep(_LOOK_SECONDS)
            sign = read_sign(self._folder, silent.name) or sign

    def _tell_older_versions(self) -> None:
        """A driver of a version that knows the older file alone finds out by it that another has taken over."""
        self._replaces_older = self._folder.read(OLDER_FILE) is not None
        if self._replaces_older:
            self._folder.write(OLDER_FILE, self._facts())

    def _overtaken(self) -> int:
        """The number of a driver that stands in this one's place, or 0; where all files were deleted, nobody does."""
        sign = read_sign(self._folder, file_of(self._generation))
        if sign is not None:
            return 0 if sign.token == self._token else self._generation
        last = last_generation(self._folder)
        return 0 if last == self._generation else last

    def _lose(self, generation: int) -> None:
        sign = read_sign(self._folder, file_of(generation))
        who = "another process" if sign is None else str(sign.process)
        self._over = f"{who}, which took over while this one was not heard of"

    def _facts(self, given_back: bool = False) -> bytes:
        facts = {
            "token": self._token,
            **self._here.facts(),
            "clock": self._clock.now(),
            "sign": uuid.uuid4().hex,
            "given_back": given_back,
            "time": time.time(),  # for people, and versions before: nobody else compares it
        }
        return json.dumps(facts).encode()

    def _taken(self, who: str) -> SearchTakenError:
        return SearchTakenError(
            f"{_RULE} ({self._folder.url})",
            who,
            f"Wait for it or stop it; a driver that died is forgotten after {VALID_SECONDS:.0f} seconds",
        )

    def _keep_renewing(self) -> None:
        while self.held and not self._done.wait(self._renew_seconds):
            try:
                self.renew()
            except StorageError:
                # The search itself ends for it, with the reason, where something is to be written; the lease ages.
                continue
