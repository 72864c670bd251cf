"""Which files of a folder an image set is read from: what of it is copied from elsewhere."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from trainable.data.files.path_pattern import PathPattern


@dataclass(frozen=True)
class FileSelection:
    """A choice among the files below a folder, by their names relative to it ("a/b.jpg").

    Attributes:
        patterns: Of images and masks.
        names: Of single files, such as the lists of splits; they need not exist.
    """

    patterns: tuple[PathPattern, ...]
    names: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that files of the patterns can lie in or below; the empty name is the folder itself."""
        return tuple(dict.fromkeys(_folder_of(pattern.glob) for pattern in self.patterns))

    def __contains__(self, name: str) -> bool:
        parts = name.split("/")
        # An object store takes any text for a name; such a one would be written somewhere else, or not at all.
        if {"", ".", ".."} & set(parts):
            return False
        hidden = any(part.startswith(".") for part in parts)
        return name in self.names or (not hidden and any(pattern.regex.fullmatch(name) for pattern in self.patterns))


def _folder_of(glob: str) -> str:
    """The folder before the first part that has a wildcard."""
    folder = []
    for part in PurePosixPath(glob).parts[:-1]:
        if any(sign in part for sign in "*?["):
            break
        folder.append(part)
    return "/".join(folder)
