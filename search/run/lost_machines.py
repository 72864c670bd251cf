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
    its machine turns out to be gone.

    Args:
        addresses: IP addresses of the machines that are alive, by Ray.
        excuse: Called with a trial's id and its failure when that was a lost machine after all.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        addresses: Callable[[], frozenset[str]],
        excuse: Callable[[str, FailureRecord], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = addresses
        self._excuse = excuse
        self._clock = clock
        self._suspects: list[_Suspect] = []

    def is_one(self, account: str) -> bool:
        """Whether a failure was the loss of a machine.

        Args:
            account: Ray's, of this failure alone.
        """
        return _LOST.search(account) is not None or self._gone(_address(account))

    def suspect(self, trial_id: str, failure: FailureRecord, account: str) -> None:
        """Keep an eye on the machine of a process that died."""
        address = _address(account)
        if address and failure.counted:
            self._suspects.append(_Suspect(trial_id, failure, address, self._clock() + _SUSPICION_SECONDS))

    def look(self) -> None:
        """Excuse the failures whose machine has turned out to be gone."""
        for suspect in list(self._suspects):
            if self._gone(suspect.address):
                self._excuse(suspect.trial_id, suspect.failure)
            elif self._clock() < suspect.until:
                continue
            self._suspects.remove(suspect)

    def _gone(self, address: str) -> bool:
        return bool(address) and address not in self._addresses()


def _address(account: str) -> str:
    """The IP address that Ray gives for a process that died; empty where it died of an exception."""
    found = _ADDRESS.search(account)
    return found[1] if found else ""
