"""The steps of the writer on the disk. Each waits for it, so they run in its thread; a sync may be `kernel_sync`'s."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from jobqueue.backend.journal.reading import LogEnd, cut_log
from jobqueue.backend.journal.segment import Segment, SegmentHead, grow_segment, make_segment, new_salt
from jobqueue.backend.journal.tail import Tail
from jobqueue.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobqueue.backend.journal.disk import Disk
    from jobqueue.backend.journal.folder import JournalFolder


class NoRoom(Exception):
    """Another segment would make the folder greater than its bound."""


class Usage(NamedTuple):
    """What a journal's folder holds."""

    bytes_used: int
    segments: int


class OpenedLog(NamedTuple):
    """A log that can be written; without a spare there is no room for one."""

    tail: Tail
    next_number: int
    usage: Usage


class MadeSpare(NamedTuple):
    """A spare segment, and the usage with it."""

    segment: Segment
    usage: Usage


def usage_of(folder: JournalFolder) -> Usage:
    """Measure a folder. Raises OSError."""
    return Usage(folder.bytes_used(), len(folder.segments()))


def open_log(folder: JournalFolder, end: LogEnd, segment_bytes: int, bytes_max: int) -> OpenedLog:
    """Cut what lies beyond the end of a log, and open it there, with a spare segment. Raises JournalError.

    Without room for the spare that is an error, and so nothing is admitted first. Where only the bound of the folder's
    size is in the way, there is none.
    """
    opened: list[Segment] = []
    made: list[int] = []
    try:
        end = cut_log(folder, end, segment_bytes=segment_bytes)
        for number, offset, salt in ((end.segment, end.offset, end.salt), (end.spare, 0, new_salt())):
            if number:
                path = folder.segment_path(number)
                fd = folder.disk.open(path, writable=True)
                opened.append(Segment(number, fd, folder.disk.size_of(path), salt, offset))
        current = opened[0] if end.segment else None
        spare = opened[-1] if end.spare else None
        next_number = max([end.first - 1, 0, *folder.segments()]) + 1
        with suppress(NoRoom):
            while current is None or spare is None:
                if spare is None:
                    spare = make_spare(folder, next_number, segment_bytes, bytes_max).segment
                    opened.append(spare)
                    made.append(next_number)
                    next_number += 1
                else:
                    current, spare = _first(folder, spare, end.lsn), None
        return OpenedLog(Tail(end.lsn, current, spare), next_number, usage_of(folder))
    except OSError as error:
        close_all(folder.disk, opened)
        for number in reversed(made):  # a crash in between leaves no gap
            with suppress(OSError):
                folder.disk.unlink(folder.segment_path(number))
        reason = f"it can't be written: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = f"there is no room for another segment of {segment_bytes:,} bytes: {error.strerror}"
        raise JournalError(f"journal folder {folder.path}: {reason}") from error


def _first(folder: JournalFolder, spare: Segment, lsn: int) -> Segment:
    """Let an empty log begin with a spare. Raises OSError."""
    head = SegmentHead(spare.number, lsn, spare.salt).encode()
    folder.disk.write(spare.fd, head, 0)
    folder.disk.sync_data(spare.fd)
    spare.offset = len(head)
    return spare


def make_spare(folder: JournalFolder, number: int, size_bytes: int, bytes_max: int | None) -> MadeSpare:
    """Make the next segment. Raises OSError, NoRoom.

    Args:
        bytes_max: Bound of the folder's size; None: it doesn't count.
    """
    if bytes_max is not None and (used := folder.bytes_used()) + size_bytes > bytes_max:
        raise NoRoom(f"it holds {used:,} bytes, and with another segment more than its bound of {bytes_max:,}")
    segment = make_segment(folder, number, size_bytes)
    try:
        return MadeSpare(segment, usage_of(folder))
    except BaseException:
        folder.disk.close(segment.fd)
        with suppress(OSError):
            folder.disk.unlink(folder.segment_path(number))
        raise


def grow_spare(folder: JournalFolder, spare: Segment, size_bytes: int) -> MadeSpare:
    """Make a spare greater, for a record greater than others. Raises OSError."""
    grow_segment(folder.disk, spare, size_bytes)
    return MadeSpare(spare, usage_of(folder))


class SegmentSync(NamedTuple):
    """The sync of all that is written.

    Attributes:
        retired: Full segments. They are cut once all are synced, and closed in any case.
        current: The segment that is written; None: there is none yet.
        began: When the commit began, by `time.perf_counter`.
    """

    disk: Disk
    retired: Sequence[Segment]
    current: Segment | None
    began: float

    def run(self) -> float:
        """Sync, and return the seconds since the commit began. Raises OSError."""
        disk, retired = self.disk, self.retired
        try:
            for segment in retired:
                disk.sync_data(segment.fd)
            if self.current is not None:
                disk.sync_data(self.current.fd)
                # Else a loop of crashes, each before its snapshot is complete, would fill the disk with almost empty
                # ones.
                for segment in retired:
                    with suppress(OSError):
                        disk.shorten(segment.fd, segment.offset)
        finally:
            close_all(disk, retired)
        return self.seconds

    @property
    def seconds(self) -> float:
        """Seconds since the commit began."""
        return time.perf_counter() - self.began


def remove_before(folder: JournalFolder, number: int) -> Usage:
    """Remove the segments and snapshots below a number, the oldest ones first. Raises OSError."""
    for each in folder.segments():
        if each < number:
            folder.disk.unlink(folder.segment_path(each))
    for each in folder.snapshots():
        if each < number:
            folder.disk.unlink(folder.snapshot_path(each))
    folder.sync()
    return usage_of(folder)


def close_all(disk: Disk, segments: Iterable[Segment]) -> None:
    """Close segments."""
    for segment in segments:
        with suppress(OSError):
            disk.close(segment.fd)
