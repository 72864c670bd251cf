"""The numbers of trials: none is given twice, also not that of a trial whose folder was deleted."""

import json
import re
from collections.abc import Iterable
from typing import Final

from trainable.record.record_format import encode, understood
from trainable.record.storage import Storage

NUMBERS_FILE: Final = "numbers.json"
_NAME: Final = re.compile(r"t(\d{4,})")


class TrialNumbers:
    """The next number of a search.

    Args:
        search: The folder of the search.
        known: Numbers of the trials that could be loaded.

    Raises:
        NewerRecordError: A newer version counts there.
    """

    def __init__(self, search: Storage, known: Iterable[int]) -> None:
        self._search = search
        named = (int(match[1]) for match in map(_NAME.fullmatch, search.child("trials").names()) if match)
        self.next = max(self._noted(), *(number + 1 for number in (*known, *named)), 0)

    def given(self) -> None:
        """Note that the next number was given to a trial whose spec is written."""
        self.next += 1
        self._search.write(NUMBERS_FILE, encode({"next": self.next}))

    def _noted(self) -> int:
        """The next number as it was noted; 0 where nothing was, or the note is damaged."""
        name = f"{self._search.url}/{NUMBERS_FILE}"
        try:
            return int(understood(json.loads(self._search.read(NUMBERS_FILE) or b"{}"), name).get("next", 0))
        except (TypeError, ValueError):
            return 0
