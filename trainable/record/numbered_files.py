"""Files that are named by a number, one after the other: `attempts/0002.json`."""

from trainable.record.storage import Storage


def numbered(folder: str, number: int) -> str:
    """Name of the file with that number in a folder."""
    return f"{folder}/{number:04d}.json"


def last_number(storage: Storage, folder: str) -> int:
    """The highest number in a folder of numbered files, damaged ones included; 0 where there is none."""
    stems = (name.removesuffix(".json") for name in storage.names(folder) if name.endswith(".json"))
    return max((int(stem) for stem in stems if stem.isascii() and stem.isdigit()), default=0)
