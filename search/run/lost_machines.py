"""Whether a trial's process died, or the machine under it did."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trainable.record.record_types import FailureRecord

_SUSPICION_SECONDS: Final = 120.0
"""Ray finds that a machine is gone by its silence, half a minute and more after the processes on it were."""

_LOST: Final = re.compile(r"its node has died|node was preempted|node was terminated")
_ADDRESS: Final = re.compile(r"^\s*ip: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class _Suspect:
    trial_id: str
    failure: FailureRecord
    address: str
    until: float


class LostMachines:
    """Tells a machine that is gone, which is no fault of its trials, from a process that died.

    A machine that is taken away ends its processes before it goes: such a failure counts at first, and is excused when
    its machine turns out to be gone. The driver's own machine is never suspected.

    Args:
        addresses: IP addresses of the machines that are alive, by Ray.
        own: IP address of the driver's machine.
        excuse: Called with a trial's id and its failure when that was a lost machine after all.
        convict: Called with a trial's id when its machine is still there after two minutes.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        addresses: Callable[[], frozenset[str]],
        own: str,
        excuse: Callable[[str, FailureRecord], None],
        convict: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = addresses
        self._own = own
        self._excuse = excuse
        self._convict = convict
        self._clock = clock
        self._suspects: list[_Suspect] = []

    def is_one(self, account: str) -> bool:
        """Whether a failure was the loss of a machine.

        Args:
            account: Ray's, of this failure alone.
        """
        return _LOST.search(account) is not None or self._gone(_address(account))

    def may_be_one(self, account: str) -> bool:
        """Whether a failure that is not known as the loss of a machine may yet prove to be one.

        Args:
            account: As for `is_one`.
        """
        return _address(account) not in ("", self._own)

    def suspect(self, trial_id: str, failure: FailureRecord, account: str) -> None:
        """Keep an eye on the machine of a process that died, until it is excused or convicted."""
        self._suspects.append(_Suspect(trial_id, failure, _address(account), self._clock() + _SUSPICION_SECONDS))

    def look(self) -> None:
        """Excuse the failures whose machine has turned out to be gone, and convict the others when their time is up."""
        for suspect in list(self._suspects):
            gone = self._gone(suspect.address)
            if not gone and self._clock() < suspect.until:
                continue
            self._suspects.remove(suspect)
            if gone:
                self._excuse(suspect.trial_id, suspect.failure)
            else:
                self._convict(suspect.trial_id)

    def _gone(self, address: str) -> bool:
        return bool(address) and address not in self._addresses()


def _address(account: str) -> str:
    """The IP address that Ray gives for a process that died; empty where it died of an exception."""
    found = _ADDRESS.search(account)
    return found[1] if found else ""
