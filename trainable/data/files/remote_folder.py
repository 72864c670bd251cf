"""The folder of an image set on S3, or wherever fsspec reaches, copied once a node below its cache folder."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import fsspec
from filelock import FileLock

from trainable.data.files.file_selection import FileSelection
from trainable.data.files.free_space import require_space
from trainable.errors import InputError, SearchFaultError
from trainable.redaction import in_short

_AT_ONCE: Final = 64
"""Files that are asked for together: all of them are under way, so that none is left behind where one fails."""

_VERSIONS: Final = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "modified", "modify", "updated", "created")
"""What file systems call that which changes with a file's content, the most telling first."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class RemoteFile(NamedTuple):
    """A file as it was listed.

    Attributes:
        size: Bytes, or None where the file system does not know.
        version: Changes with its content; empty where the file system has nothing of the kind.
    """

    size: int | None
    version: str


def local_folder(
    root: Path | str, wanted: FileSelection, cache_dir: Path, say: Callable[[str], None] | None = None
) -> Path:
    """The folder of an image set on this machine: a path as it is, of a URL a copy.

    Concurrent callers on a node wait for one copy. A changed, added or removed file gives another copy, and so another
    cache of decoded images.

    Args:
        root: A path, or a URL that fsspec knows. Credentials and endpoints come from the environment.
        wanted: What is copied of it.
        cache_dir: Where the copies of this node lie.
        say: Prints a line for the user when something is copied.

    Raises:
        InputError: The URL cannot be read, holds none of the files, or the disk has too little space.
        SearchFaultError: It can, and yet not now: the network is gone, the disk is full after all.
    """
    if isinstance(root, Path):
        return root
    remote = _RemoteFolder(root)
    if remote.local_path is not None:
        return remote.local_path
    files = remote.files(wanted)
    # The last part of the URL is kept: the name of a set may come from its folder.
    place = cache_dir / f"copy-{_digest(remote.url)}"
    copy = place.with_name(f"{place.name}-{_digest(sorted(files.items()))}") / remote.name
    if not copy.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not copy.is_dir():
                _copy(remote, files, wanted, place.with_name(f"{place.name}.building"), copy, say or _silent)
    return copy


def _copy(
    remote: "_RemoteFolder",
    files: Mapping[str, RemoteFile],
    wanted: FileSelection,
    unfinished: Path,
    copy: Path,
    say: Callable[[str], None],
) -> None:
    # Made aside and renamed: a copy is whole or absent, also after a kill. The name is always the same, so that what
    # a killed process left is not left for ever; the lock keeps others out.
    shutil.rmtree(unfinished, ignore_errors=True)
    total = sum(file.size or 0 for file in files.values())
    require_space(unfinished.parent, total, f"the files of {remote.url}")
    say(f"copying {len(files):,} files from {remote.url} ({_in_words(total)})")
    try:
        remote.fetch(files, unfinished / copy.name)
        if remote.files(wanted) != files:
            raise InputError(_STEADY, f"other files in {remote.url} than before", _LATER)
        os.sync()  # before the rename: after a power cut the name must not stand for empty files
        unfinished.rename(copy.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class _RemoteFolder:
    """A folder that fsspec reads.

    Args:
        url: Of the folder.

    Raises:
        InputError: No file system knows the URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs: Any
        rule = "the root of an image set must be a folder, or the URL of one that fsspec knows"
        if not url.partition("://")[2].strip("/"):
            raise InputError(rule, url, _EXAMPLE)
        with self._reporting("open"):
            try:
                # A listing that is remembered would hide what has changed since.
                self._fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
            except ImportError as error:
                of_it = f"the file system of {url} must be installed"
                raise InputError(of_it, in_short(error), "Install it on every machine") from error
            except ValueError as error:
                raise InputError(rule, f"{url} ({in_short(error)})", _EXAMPLE) from error
        self._root = str(root).rstrip("/")

    @property
    def local_path(self) -> Path | None:
        """The folder as a path where it lies on this machine (`file://`)."""
        protocols = self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        return Path(self._root) if "file" in protocols else None

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self._root.rpartition("/")[2] or "images"

    def files(self, wanted: FileSelection) -> dict[str, RemoteFile]:
        """The wanted files by their names.

        Raises:
            InputError: There is no such folder, it may not be read, or it has none of them.
            SearchFaultError: It cannot be listed now.
        """
        with self._reporting("list"):
            entries: dict[str, Any] = {}
            for folder in wanted.folders:
                entries |= self._fs.find(self._path(folder), detail=True)
            for name in wanted.names:
                with suppress(FileNotFoundError):  # that it is missing is for the layout's reader to say
                    entries[self._path(name)] = self._fs.info(self._path(name))
        below = f"{self._root}/" if self._root else ""
        listed = {
            path.removeprefix(below): _read_entry(entry)
            for path, entry in entries.items()
            if path.startswith(below) and entry["type"] == "file"
        }
        found = {name: file for name, file in listed.items() if name in wanted}
        if not found:
            globs = " and ".join(repr(pattern.glob) for pattern in wanted.patterns)
            raise InputError(_THERE, f"{self.url} without any file of {globs}", _OTHER_URL)
        return found

    def fetch(self, files: Mapping[str, RemoteFile], folder: Path) -> None:
        """Copy files into a new folder, several at a time where the file system can.

        Raises:
            InputError: One is gone, or may not be read.
            SearchFaultError: One cannot be read or written now.
        """
        with self._reporting("copy"):
            ordered = sorted(files)
            for start in range(0, len(ordered), _AT_ONCE):
                names = ordered[start : start + _AT_ONCE]
                paths = [folder / name for name in names]
                for parent in {path.parent for path in paths}:
                    parent.mkdir(parents=True, exist_ok=True)
                self._fs.get([self._path(name) for name in names], [str(path) for path in paths])
                for name, path in zip(names, paths, strict=True):
                    _check_size(path, files[name])
                    # One time for all copies: decoded images are found again by it.
                    os.utime(path, ns=(0, 0))

    def _path(self, name: str) -> str:
        return "/".join(part for part in (self._root, name) if part)

    @contextmanager
    def _reporting(self, verb: str) -> Iterator[None]:
        """Whatever the file system raises, as an error that says what was asked for."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # an object store's client raises what it likes
            value = f"'{in_short(error)}' when asked to {verb} {self.url}"
            if isinstance(error, FileNotFoundError):
                rule, remedy = (_STEADY, _LATER) if verb == "copy" else (_THERE, _OTHER_URL)
                raise InputError(rule, value, remedy) from error
            if isinstance(error, PermissionError) or "credentials" in value:
                raise InputError("the root of an image set must be readable", value, _RIGHTS) from error
            remedy = _SPACE if getattr(error, "errno", None) in _FULL else _AGAIN
            raise SearchFaultError("an image set must be copied to be read", value, remedy) from error


def _read_entry(entry: Mapping[str, Any]) -> RemoteFile:
    version = next((str(entry[key]) for key in _VERSIONS if entry.get(key)), "")
    return RemoteFile(entry.get("size"), version)


def _check_size(path: Path, file: RemoteFile) -> None:
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise OSError(f"{size} of {file.size} bytes of {path.name}")


_THERE: Final = "the root of an image set must be a folder that has the files of its layout"
_STEADY: Final = "the files of an image set must not change while they are copied"

_EXAMPLE: Final = "Write for example s3://bucket/folder"
_OTHER_URL: Final = "Correct the URL (dataset.root, or root in the description)"
_LATER: Final = "Start again when they are whole"
_RIGHTS: Final = (
    "Give this machine the right to list and to read it: for s3:// by the role of the instance, or by "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment"
)
_SPACE: Final = "Free space in the cache folder, or set resources.cache_dir to a larger disk"
_AGAIN: Final = "Mend it and start again (a search with --resume)"


def _digest(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=6).hexdigest()


def _in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _silent(line: str) -> None:
    """Print nothing."""
