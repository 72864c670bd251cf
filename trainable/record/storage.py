"""A folder that the record is written to: a local path, NFS or any URL that fsspec knows (`s3://bucket/folder`)."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import fsspec

from trainable.errors import SearchFaultError

_TEMPORARY_PREFIX: Final = ".writing-"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_HARD_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


class StorageError(SearchFaultError):
    """The storage does not do what it is asked for: full, read-only, out of reach."""


class Storage:
    """Bytes by name under one folder; a name is either whole or absent, whatever dies while it is written.

    Every method raises StorageError where the file system fails; that something is absent is no failure.

    Args:
        url: An absolute local path or an fsspec URL. Credentials and endpoints come from the environment
            (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...), never from a config.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs: Any
        # Other processes write here too: a listing that is remembered would hide what they wrote.
        self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        self.is_local = "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,))

    def __repr__(self) -> str:
        return f"Storage({self.url!r})"

    def __reduce__(self) -> tuple[type["Storage"], tuple[str]]:
        """Cross process boundaries by URL; a file system object holds sockets."""
        return type(self), (self.url,)

    def child(self, *parts: str) -> "Storage":
        """The folder `parts` below this one; it need not exist."""
        return Storage("/".join((self.url, *parts)))

    @property
    def local_path(self) -> Path:
        """The folder as a path.

        Raises:
            ValueError: The storage is not on a local (or mounted) file system.
        """
        if not self.is_local:
            raise ValueError(f"{self.url} is not on a local file system")
        return Path(self._root)

    def write(self, name: str, data: bytes) -> None:
        """Write `data` under `name` ("folder/file"), replacing what was there; readers never see a part of it."""
        with self._reporting("write", name):
            if self.is_local:
                with _written_aside(Path(self._root, name), data) as temporary:
                    temporary.replace(Path(self._root, name))
            else:
                # Object stores publish an object when its upload is complete.
                self._fs.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Write `data` under `name` unless something is there already: of two writers, one alone succeeds.

        Returns:
            Whether it was written.
        """
        with self._reporting("write", name):
            try:
                if self.is_local:
                    with _written_aside(Path(self._root, name), data) as temporary:
                        _name_new(temporary, Path(self._root, name))
                else:
                    self._create_object(self._path(name), data)
            except FileExistsError:
                return False
            return True

    def _create_object(self, path: str, data: bytes) -> None:
        try:
            self._fs.pipe_file(path, data, mode="create")
        except (NotImplementedError, OSError) as error:
            if not isinstance(error, NotImplementedError) and not _says_not_implemented(error):
                raise
            # A server without conditional writes: two writers at the very same moment are not told apart.
            if self._fs.exists(path):
                raise FileExistsError(path) from error
            self._fs.pipe_file(path, data)

    def read(self, name: str) -> bytes | None:
        """The bytes under `name`, or None where there are none."""
        with self._reporting("read", name):
            try:
                data: bytes = self._fs.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return data

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """The bytes of all `names` that exist, fetched concurrently where the file system can."""
        # Whole files as ranges, because `cat` takes brackets and stars in a path for a pattern.
        with self._reporting("read", ""):
            contents = self._fs.cat_ranges([self._path(name) for name in names], None, None, on_error="return")
        found: dict[str, bytes] = {}
        for name, data in zip(names, contents, strict=True):
            if isinstance(data, FileNotFoundError):
                continue
            with self._reporting("read", name):
                if isinstance(data, BaseException):
                    raise data
            found[name] = data
        return found

    def names(self, folder: str = "") -> list[str]:
        """The names directly under `folder`, sorted, without the folder; half-written files are not listed."""
        with self._reporting("read", folder):
            try:
                entries = self._fs.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
        # An object store may hold an empty object that stands for the folder itself.
        names = {entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries if not entry.endswith("/")}
        return sorted(name for name in names if name and not name.startswith(_TEMPORARY_PREFIX))

    def delete_unfinished(self, folder: str) -> None:
        """Remove what writers that were killed have left half-written anywhere under `folder`.

        Only for a folder that nobody else writes to at present. Object stores keep no such parts.
        """
        if self.is_local:
            with self._reporting("delete", folder):
                for path in Path(self._path(folder)).rglob(f"{_TEMPORARY_PREFIX}*"):
                    path.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Remove the file `name`; no error where there is none."""
        with self._reporting("delete", name):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def delete_folder(self, name: str) -> None:
        """Remove the folder `name` with all that is in it; no error where there is none."""
        with self._reporting("delete", name):
            if not self.is_local:
                for path in self._fs.find(self._path(name)):
                    self._fs.rm_file(path)
                return
            try:
                shutil.rmtree(self._path(name))
            except FileNotFoundError:
                return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else str(self._root)

    @contextmanager
    def _reporting(self, verb: str, name: str) -> Iterator[None]:
        """Whatever the file system raises, as a StorageError that says what was asked for."""
        try:
            yield
        except Exception as error:  # an object store's client raises what it likes
            place = f"{self.url}/{name}" if name else self.url
            raise StorageError(
                f"{self.url} must be readable and writable", _why(verb, place, error), _remedy(error)
            ) from error


@contextmanager
def _written_aside(path: Path, data: bytes) -> Iterator[Path]:
    """A file beside `path` that holds `data`, on the disk; gone afterwards, if it still has that name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            # Before it gets its name: after a power cut a name must not stand for an empty file.
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _name_new(temporary: Path, path: Path) -> None:
    """Give a file a name that must be new.

    Raises:
        FileExistsError: The name is taken.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        # No hard links here (FAT, some network drives): two writers at the very same moment are not told apart.
        if path.exists():
            raise FileExistsError(path) from error
        temporary.replace(path)


def _says_not_implemented(error: OSError) -> bool:
    said = str(error).lower()
    return "notimplemented" in said or "not implemented" in said


def _why(verb: str, place: str, error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return f"'{said.splitlines()[0]}' when asked to {verb} {place}"


def _remedy(error: Exception) -> str:
    if getattr(error, "errno", None) in _FULL:
        return "Free space there and continue (a search with --resume): nothing that was recorded is lost"
    return "Mend it and continue (a search with --resume): nothing that was recorded is lost"
