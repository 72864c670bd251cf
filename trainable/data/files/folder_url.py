"""A folder as configs name it: a path, or a URL that fsspec knows (`s3://bucket/folder`)."""

from pathlib import Path
from typing import Annotated

from pydantic import Discriminator, Tag

from trainable.errors import InputError
from trainable.redaction import redacted


def is_url(folder: object) -> bool:
    """Whether a folder is given by a URL; a path with its two slashes made one is none."""
    return isinstance(folder, str) and "://" in folder


def absolute(folder: Path | str) -> Path | str:
    """The folder, whatever directory a process runs in; a URL is that already."""
    return folder if isinstance(folder, str) else folder.expanduser().absolute()


def without_secret(key: str, url: str) -> str:
    """Refuse a URL that holds a password or a key.

    Args:
        key: Of the config, for the message.
        url: What it was given, or a path.

    Returns:
        The same.

    Raises:
        InputError: It holds one.
    """
    if redacted(url) == url:
        return url
    raise InputError(
        f"{key} must hold no password and no key: it is shown and recorded",
        redacted(url),
        "Put them into the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for s3://, "
        "FSSPEC_PROTOCOL_OPTION for others (FSSPEC_FTP_PASSWORD)",
    )


FolderUrl = Annotated[
    # Told apart by hand: a plain union would take every text for a URL, and `Path` takes a slash out of a URL.
    Annotated[Path, Tag("path")] | Annotated[str, Tag("url")],
    Discriminator(lambda given: "url" if is_url(given) else "path"),
]
"""A `Path`, or as `str` a URL."""
