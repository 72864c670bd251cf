"""A glob whose wildcards are captured: what they match is a sample's id."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainable.errors import InputError

TOKEN = re.compile(r"(?P<deep>\*\*/)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[!?\]?[^\]]*\])|(?P<text>[^*?\[]+|\[)")


@dataclass(frozen=True)
class PathPattern:
    """A glob relative to a folder.

    `*` and `?` match within a folder's name, `**/` matches any number of folders; what they match is captured. A set
    like `[jJ]` matches without being captured, so that `*.[jJ]pg` pairs with `*.png`.

    Attributes:
        glob: As the user wrote it.
    """

    glob: str

    def __post_init__(self) -> None:
        remedy = "Write for example images/*.jpg"
        if not self.wildcards:
            raise InputError("a glob of images or masks must have a wildcard", repr(self.glob), remedy)
        path = PurePosixPath(self.glob)
        if path.is_absolute() or ".." in path.parts:
            raise InputError("a glob must lie under the root", repr(self.glob), f"{remedy} and set root")
        if any("**" in part and part != "**" for part in path.parts) or path.name == "**":
            raise InputError("** must stand for whole folders", repr(self.glob), "Write for example **/images/*.jpg")

    @property
    def wildcards(self) -> tuple[str, ...]:
        """The captured wildcards, in order."""
        tokens = (match[0] for match in TOKEN.finditer(self.glob) if match.lastgroup in ("deep", "star", "one"))
        return tuple(token.rstrip("/") for token in tokens)

    @property
    def regex(self) -> re.Pattern[str]:
        """The same as a regular expression with a group for each captured wildcard."""
        return re.compile("".join(_translate(match) for match in TOKEN.finditer(self.glob)))

    def find(self, root: Path) -> Iterator[tuple[str, Path]]:
        """Find the files that match, hidden ones left out.

        Args:
            root: The folder that the glob is relative to.

        Yields:
            What the wildcards matched, joined by "/", and the file; sorted by path.
        """
        regex = self.regex
        for path in sorted(root.glob(self.glob)):
            relative = path.relative_to(root)
            match = regex.fullmatch(relative.as_posix())
            # Systems leave files beside files (._image.jpg); like a shell's glob, skip what starts with a dot.
            if match is None or any(part.startswith(".") for part in relative.parts) or not path.is_file():
                continue
            yield "/".join(filter(None, (text.strip("/") for text in match.groups()))), path


def _translate(match: re.Match[str]) -> str:
    if match.lastgroup == "set":
        body = match[0][1:-1].replace("\\", "\\\\")
        return f"(?:(?!/)[{'^' + body[1:] if body.startswith('!') else body}])"
    wildcards = {"deep": "((?:[^/]+/)*)", "star": "([^/]*)", "one": "([^/])"}
    return wildcards.get(match.lastgroup or "", "") or re.escape(match[0])
