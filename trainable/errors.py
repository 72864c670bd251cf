"""The error for a user's mistake: its message states the rule, the value and the remedy."""

from typing import ClassVar

from trainable.redaction import redacted


class InputError(ValueError):
    """A mistake in what the user gave: a config, a file, a folder.

    The command line prints the message without a traceback and exits with `exit_code`.

    Args:
        rule: What must hold, as a sentence without a full stop ("dataset.root must be a folder").
        value: What was given instead.
        remedy: What to do about it, as a sentence without a full stop.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, rule: str, value: object, remedy: str) -> None:
        super().__init__(redacted(f"{rule}; got {value}. {remedy}."))
        self.rule = rule
        self.value = value
        self.remedy = remedy

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, object, str]]:
        """Keep the three parts when the error crosses a process boundary."""
        return type(self), (self.rule, self.value, self.remedy)


class SearchFaultError(InputError):
    """A fault that is no single trial's: its storage is full or out of reach, its data have changed.

    The search stops, no trial is marked as failed for it, and a resume continues.
    """

    exit_code: ClassVar[int] = 3
