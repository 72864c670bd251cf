"""The files by which drivers show that they live, and whether those of others still do."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from search.record.driver_process import DriverProcess
from search.record.elapsed_time import ElapsedTime
from trainable.record.numbered_files import last_number, numbered
from trainable.record.storage import Storage

FOLDER: Final = "driver"
OLDER_FILE: Final = "driver.json"
"""The one file of versions that did not number them."""

VALID_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Sign:
    """A driver's file, as it was when it was read.

    Attributes:
        name: Of the file.
        content: Its bytes; another at each sign of life.
        token: The driver's own.
        process: The driver.
        clock: Seconds of `ElapsedTime` when it was written, or None.
        given_back: The driver is done.
    """

    name: str
    content: bytes
    token: str
    process: DriverProcess
    clock: float | None
    given_back: bool

    def is_over(self, here: DriverProcess) -> bool:
        """Whether the driver is known to be done, or dead."""
        return self.given_back or self.process.has_ended(here)


@dataclass(frozen=True)
class Heard:
    """What one look has shown.

    Attributes:
        generation: The highest number of a driver's file, 0 where there is none.
        alive: Who lives, in words.
        unknown: Drivers of which that cannot be told yet.
        silent: Those that have been silent for too long.
    """

    generation: int
    alive: list[str]
    unknown: list[Sign]
    silent: list[Sign]


def file_of(generation: int) -> str:
    """Name of the file of the driver with that number."""
    return numbered(FOLDER, generation)


def last_generation(folder: Storage) -> int:
    """The highest number that a driver of the search in `folder` has taken, or 0."""
    return last_number(folder, FOLDER)


def read_sign(folder: Storage, name: str) -> Sign | None:
    """What a driver's file says; None where it is absent or damaged: nobody writes a part of one."""
    content = folder.read(name)
    if content is None:
        return None
    try:
        return _parsed(name, content, json.loads(content))
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None


def _parsed(name: str, content: bytes, facts: dict[str, Any]) -> Sign:
    clock = facts.get("clock")
    return Sign(
        name=name,
        content=content,
        token=str(facts["token"]),
        process=DriverProcess.parsed(facts),
        clock=float(clock) if isinstance(clock, int | float) else None,
        given_back=facts.get("given_back") is True,
    )


class Watch:
    """Tells drivers that live from those that are gone.

    A sign of life that stays the same for 90 seconds is that of a driver that is gone. They are counted on the clock of
    this machine: from the moment when the sign was first seen here, or from when it was written, where that was on
    this machine. Clocks of other machines are not asked.

    Args:
        folder: The search's folder.
        clock: Of this machine.
        here: This process.
    """

    def __init__(self, folder: Storage, clock: ElapsedTime, here: DriverProcess) -> None:
        self._folder = folder
        self._clock = clock
        self._here = here
        self._first: dict[str, tuple[Sign, float]] = {}

    def until_known(self, say: Callable[[str], None]) -> Heard:
        """Look until it is known of every driver whether it lives: at once, or after 90 seconds.

        Args:
            say: Told, once, why it takes that long.
        """
        told = False
        while (heard := self.look()).unknown and not heard.alive:
            if not told:
                told = True
                say(
                    f"{heard.unknown[0].process} drove this search and did not say that it ended: "
                    f"looking for {VALID_SECONDS:.0f} s at the most whether it lives"
                )
            self._clock.sleep(_LOOK_SECONDS)
        return heard

    def look(self) -> Heard:
        """Look once."""
        before = self._clock.now()
        generation = last_generation(self._folder)
        heard = Heard(generation, [], [], [])
        for name in (OLDER_FILE, file_of(generation)):
            sign = read_sign(self._folder, name)
            if sign is None or sign.is_over(self._here):
                continue
            silence, certain = self._silence(sign, before)
            if silence >= VALID_SECONDS:
                heard.silent.append(sign)
            elif certain:
                heard.alive.append(f"{sign.process}, heard of {max(0.0, silence):.0f} s ago")
            else:
                heard.unknown.append(sign)
        return heard

    def _silence(self, sign: Sign, before: float) -> tuple[float, bool]:
        """For how many seconds a driver has been silent at least, and whether that is certain to be all.

        Args:
            sign: Its sign of life.
            before: When it had not been read yet.
        """
        if sign.clock is not None and sign.process.shares_clock(self._here):
            return before - sign.clock, True
        first, since = self._first.setdefault(sign.name, (sign, self._clock.now()))
        return (before - since, False) if first.content == sign.content else (0.0, True)


def current_holder(folder: Storage, say: Callable[[str], None] = lambda line: None) -> str | None:
    """Who drives the search in `folder` at present, in words, or None.

    It takes up to 90 seconds to tell a driver that was lost with its machine from one that lives.

    Args:
        folder: The search's folder.
        say: Told, once, why it takes that long.
    """
    alive = Watch(folder, ElapsedTime(), DriverProcess.current()).until_known(say).alive
    return alive[0] if alive else None
