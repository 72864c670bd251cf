"""A folder that the record is written to: a local path, NFS or any URL that fsspec knows (`s3://bucket/folder`)."""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import fsspec

_TEMPORARY_PREFIX: Final = ".writing-"


class Storage:
    """Bytes by name under one folder; a name is either whole or absent, whatever dies while it is written.

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
        if self.is_local:
            self._write_local(Path(self._root, name), data)
        else:
            # Object stores publish an object when its upload is complete.
            self._fs.pipe_file(self._path(name), data)

    def _write_local(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                # Before the rename: after a power cut a name must not stand for an empty file.
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> bytes | None:
        """The bytes under `name`, or None where there are none."""
        try:
            data: bytes = self._fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return data

    def read_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """The bytes of all `names` that exist, fetched concurrently where the file system can."""
        # Whole files as ranges, because `cat` takes brackets and stars in a path for a pattern.
        contents = self._fs.cat_ranges([self._path(name) for name in names], None, None, on_error="return")
        found: dict[str, bytes] = {}
        for name, data in zip(names, contents, strict=True):
            if isinstance(data, FileNotFoundError):
                continue
            if isinstance(data, BaseException):
                raise data
            found[name] = data
        return found

    def names(self, folder: str = "") -> list[str]:
        """The names directly under `folder`, sorted, without the folder; half-written files are not listed."""
        try:
            entries = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        # An object store may hold an empty object that stands for the folder itself.
        names = {entry.rstrip("/").rsplit("/", 1)[-1] for entry in entries if not entry.endswith("/")}
        return sorted(name for name in names if name and not name.startswith(_TEMPORARY_PREFIX))

    def delete_unfinished(self, folder: str) -> None:
        """Remove what writers that were killed have left half-written directly under `folder`.

        Only for a folder that nobody else writes to at present. Object stores keep no such parts.
        """
        if self.is_local:
            for path in Path(self._path(folder)).glob(f"{_TEMPORARY_PREFIX}*"):
                path.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """Remove the file `name`; no error where there is none."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def delete_folder(self, name: str) -> None:
        """Remove the folder `name` with all that is in it; no error where there is none."""
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
