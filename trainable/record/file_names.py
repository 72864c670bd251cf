"""Names of the files that an epoch's record promises: by its epoch, and by the start of the trial that trained it."""

from trainable.record.record_types import EpochRecord


def files_of(epoch: EpochRecord) -> str:
    """What names the files that an epoch's record promises: `0003-0002` for epoch 3 of start 2."""
    return files_name(epoch.epoch, epoch.start)


def files_name(epoch: int, start: int) -> str:
    """What names the files of an epoch that a start has trained; `0003` in records of format 1, whose start is 0."""
    return f"{epoch:04d}-{start:04d}" if start else f"{epoch:04d}"


def epoch_of(name: str) -> int:
    """The epoch in a name that `files_name` gave; 0 where it gave no such name."""
    epoch, _, start = name.partition("-")
    return int(epoch) if epoch.isdigit() and (start.isdigit() or "-" not in name) else 0
