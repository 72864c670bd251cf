"""Passwords are blotted out of whatever is written or shown; this is the one place that knows what they look like."""

import re
from typing import Final

_BLOT: Final = "***"

# To the last @ of the line or before another URI: databases take passwords with unescaped slashes, blanks and @.
_IN_AUTHORITY: Final = re.compile(r"(://[^\s/:]*):(?:(?!://)[^\n])*@")
_SECRET: Final = r"passw|passphrase|pwd|secret|token|credential|access_?key|account_?key|api_?key|odbc_connect"
_IN_QUERY: Final = re.compile(rf"([?&;](?:[\w.-]*(?:{_SECRET})[\w.-]*|pass)=)[^\s&]+", re.IGNORECASE)


def redacted(text: str) -> str:
    """The text with `***` for each password, key or token in the URIs that it holds.

    Args:
        text: A URI, a command line, a message: anything that may quote a URI.
    """
    return _IN_AUTHORITY.sub(rf"\1:{_BLOT}@", _IN_QUERY.sub(rf"\1{_BLOT}", text))


def is_redacted(uri: str) -> bool:
    """Whether a URI lacks a password that it once had: nothing can be reached by it."""
    return f":{_BLOT}@" in uri or f"={_BLOT}" in uri


def in_short(error: BaseException) -> str:
    """The first line of an exception, without passwords and of 300 characters at the most; its type where it is silent.

    Passwords go first: a cut in the middle of one would hide what makes it known as one.
    """
    lines = redacted(str(error)).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
