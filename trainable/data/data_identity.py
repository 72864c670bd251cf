"""What data a search learns from: recognised wherever they lie, and what has changed in them can be named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from trainable.data.dataset_problem import name_some
from trainable.data.trial_data import TrialData
from trainable.errors import SearchFaultError
from trainable.record.storage import Storage

DATA_FILE: Final = "data.json"
"""In the search's folder."""


class SampleIdentity(NamedTuple):
    """A sample by the contents of its files, and where it belongs.

    Attributes:
        digest: Hash of the bytes of its image and its mask, in hex.
        scene: As the layout or `scene_regex` says.
        split: As the set says.
    """

    digest: str
    scene: str
    split: str


@dataclass(frozen=True)
class DataIdentity:
    """An image set by its contents.

    Attributes:
        fingerprint: Of all samples, the classes and the encoding.
        samples: By id; empty where they have not been noted.
    """

    fingerprint: str
    samples: Mapping[str, SampleIdentity] = field(default_factory=dict)

    @classmethod
    def of(cls, data: TrialData) -> "DataIdentity":
        """The identity of opened data."""
        rows = zip(data.image_set, data.cache.digests, strict=True)
        return cls(
            data.cache.fingerprint,
            {sample.id: SampleIdentity(bytes(row).hex(), sample.scene, str(sample.split)) for sample, row in rows},
        )

    @classmethod
    def read(cls, search: Storage, fingerprint: str) -> "DataIdentity":
        """What the search in a folder began with; without the files where it has not noted them.

        Args:
            search: The folder of the search.
            fingerprint: That it has noted.
        """
        try:
            samples = json.loads(search.read(DATA_FILE) or b"{}")
            return cls(fingerprint, {name: SampleIdentity(*values) for name, values in samples.items()})
        except (ValueError, TypeError, AttributeError):
            return cls(fingerprint)

    def write(self, search: Storage) -> None:
        """Note the samples in the folder of a search."""
        search.write(DATA_FILE, json.dumps(self.samples).encode())

    def differences(self, now: "DataIdentity") -> str:
        """What has changed since, for the user."""
        if not self.samples:
            return "other files, scenes, splits or classes"
        both = [name for name in self.samples if name in now.samples]
        groups = {
            "with another image or mask": [n for n in both if self.samples[n].digest != now.samples[n].digest],
            "of another scene": [n for n in both if self.samples[n].scene != now.samples[n].scene],
            "in another split": [n for n in both if self.samples[n].split != now.samples[n].split],
            "added": [name for name in now.samples if name not in self.samples],
            "gone": [name for name in self.samples if name not in now.samples],
        }
        said = [
            f"{len(names)} sample{'s' * (len(names) > 1)} {what} ({name_some(sorted(names))})"
            for what, names in groups.items()
            if names
        ]
        return "; ".join(said) or "other classes, or another encoding or order of theirs, in the same files"


class DataChangedError(SearchFaultError):
    """The data are not those that the search began with."""


def require_same_data(search: Storage, fingerprint: str, now: DataIdentity) -> None:
    """Check that data are those that a search began with.

    Args:
        search: The folder of the search.
        fingerprint: That it began with.
        now: What they are now.

    Raises:
        DataChangedError: They have changed; says what.
    """
    if now.fingerprint == fingerprint:
        return
    raise DataChangedError(
        "a search needs the data that it began with",
        DataIdentity.read(search, fingerprint).differences(now),
        "Put the files back as they were and continue with --resume, or start a new search under another name",
    )
