"""A folder that the record is written to: a local path, NFS or any URL that fsspec knows (`s3://bucket/folder`)."""

import errno
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import fsspec

from trainable.errors import SearchFaultError

_TEMPORARY_PREFIX: Final = ".writing-"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_NO_HARD_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
_ATTEMPTS: Final = 3
_RESERVED_SECONDS: Final = 5.0

# s3fs knows the first by a part of the answer that AWS sends, and other servers (MinIO) do not.
_EXISTS: Final = ("PreconditionFailed", "412")
_CONFLICT: Final = ("ConditionalRequestConflict", "409")
"""What AWS says of two conditional writes of one name at the same moment: one of them is to be repeated."""
_CONFLICT_WAITS: Final = (0.1, 0.3, 1.0)


class StorageError(SearchFaultError):
    """The storage does not do what it is asked for: full, read-only, out of reach."""


class Storage:
    """Bytes by name under one folder; a name is either whole or absent, whatever dies while it is written.

    Every method raises StorageError where the file system fails; that something is absent is no failure.

    Args:
        url: An absolute local path or an fsspec URL. Credentials and endpoints come from the environment
            (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, ...), never from a config.
        before_change: Called before anything is changed here, or below; what it raises is raised. In another process,
            which is another writer, it is not called.
    """

    def __init__(self, url: str, before_change: Callable[[], None] | None = None) -> None:
        self.url = url.rstrip("/")
        self._before_change = before_change or _allowed
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
        return Storage("/".join((self.url, *parts)), self._before_change)

    def guarded(self, before_change: Callable[[], None]) -> "Storage":
        """The same folder, where `before_change` is called before anything is changed, here or below."""
        return Storage(self.url, before_change)

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
        self._before_change()
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
        self._before_change()
        with self._reporting("write", name):
            try:
                if self.is_local:
                    _create_file(Path(self._root, name), data)
                else:
                    self._create_object(self._path(name), data)
            except FileExistsError:
                return False
            return True

    def _create_object(self, path: str, data: bytes) -> None:
        for wait in (*_CONFLICT_WAITS, None):
            try:
                self._fs.pipe_file(path, data, mode="create")
            except (NotImplementedError, OSError) as error:
                code = _server_code(error)
                if code in _EXISTS:
                    raise FileExistsError(path) from error
                if code in _CONFLICT and wait is not None:
                    time.sleep(wait)
                    continue
                if not isinstance(error, NotImplementedError) and not _says_not_implemented(error):
                    raise
                self._create_unconditionally(path, data)
            return

    def _create_unconditionally(self, path: str, data: bytes) -> None:
        """For a server without conditional writes: two writers at the very same moment are not told apart."""
        if self._fs.exists(path):
            raise FileExistsError(path)
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
        self._before_change()
        if self.is_local:
            with self._reporting("delete", folder):
                for path in Path(self._path(folder)).rglob(f"{_TEMPORARY_PREFIX}*"):
                    path.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Remove the file `name`; no error where there is none."""
        self._before_change()
        with self._reporting("delete", name):
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def delete_folder(self, name: str) -> None:
        """Remove the folder `name` with all that is in it; no error where there is none."""
        self._before_change()
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


def _create_file(path: Path, data: bytes) -> None:
    """Write a file whose name must be new.

    Raises:
        FileExistsError: The name is taken.
    """
    for attempt in range(_ATTEMPTS):
        with _written_aside(path, data) as temporary:
            try:
                _name_new(temporary, path)
            except FileNotFoundError:
                # A driver that has just begun cleared it away, for the rest of a writer that was killed.
                if attempt + 1 == _ATTEMPTS:
                    raise
            else:
                return


def _name_new(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may say so of a link that it has made itself, when the first answer was lost: open(2), on O_EXCL.
        if temporary.stat().st_nlink != 2:
            raise
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _name_reserved(temporary, path)


def _name_reserved(temporary: Path, path: Path) -> None:
    """Name a file where there are no hard links (FAT, some network drives).

    Of several writers one alone makes the reservation, a file beside the name; only it may look and rename.
    """
    reservation = path.with_name(f"{_TEMPORARY_PREFIX}{path.name}")
    _reserve(reservation)
    try:
        if path.exists():
            raise FileExistsError(path)
        temporary.replace(path)
    finally:
        reservation.unlink(missing_ok=True)


def _reserve(reservation: Path) -> None:
    """Make the file `reservation`; another writer's is there for a moment only, unless that was killed."""
    give_up = time.monotonic() + _RESERVED_SECONDS
    while True:
        try:
            reservation.touch(exist_ok=False)
        except FileExistsError as error:
            if time.monotonic() >= give_up:
                raise OSError(
                    errno.EBUSY, f"a writer that was killed has left {reservation}: delete it when none runs"
                ) from error
            time.sleep(_RESERVED_SECONDS / 100)
        else:
            return


def _allowed() -> None:
    """Let everything be changed."""


def _server_code(error: Exception) -> object:
    """What an S3 server calls an error, or None."""
    response = getattr(error.__cause__, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None


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
