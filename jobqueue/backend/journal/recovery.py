"""Recovery: reads a folder's snapshot and log, and puts what they tell into the engine.

All happens in portions, so that the loop goes on: a server answers meanwhile that it is not ready. Nothing in the
folder is changed.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Final

from jobqueue.backend.journal.reading import LogEnd, read_log
from jobqueue.backend.journal.records import BadRecord
from jobqueue.backend.journal.snapshot_file import read_snapshot
from jobqueue.errors import JournalDamaged, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.image import Image
    from jobqueue.backend.journal.reading import Frame

TURN_S: Final = 0.005
"""How long a step of the recovery takes before other tasks run, in seconds."""


class Turns:
    """Lets other tasks run now and then."""

    def __init__(self) -> None:
        self._ends_at = perf_counter() + TURN_S

    async def end(self) -> None:
        """Let other tasks run, if this turn is over."""
        if perf_counter() >= self._ends_at:
            await asyncio.sleep(0)
            self._ends_at = perf_counter() + TURN_S


@contextmanager
def without_collections() -> Iterator[None]:
    """Let no garbage be looked for among what a recovery makes, neither meanwhile nor later: it is kept."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


class Read:
    """What was read of a folder.

    Attributes:
        records: Their number.
        log_bytes: Size of the frames of the log.
        snapshot_bytes: Size of the snapshot; 0: there is none.
        end: Where the log ends.
        share: How much was read, from 0 to 1.
    """

    def __init__(self) -> None:
        self.records = self.log_bytes = self.snapshot_bytes = 0
        self.end = LogEnd()
        self.share = 0.0


async def read_folder(folder: JournalFolder, image: Image, read: Read, *, segment_bytes: int) -> None:
    """Apply all records of a folder, in order. Raises JournalError, JournalDamaged.

    Args:
        segment_bytes: Size of a segment.
    """
    try:
        snapshots = folder.snapshots()
        first = snapshots[-1] if snapshots else 0
        total = max(1, folder.bytes_used())
        read.snapshot_bytes = 0 if not first else folder.disk.size_of(folder.snapshot_path(first))
        reading, turns, at = read_log(folder, first, segment_bytes=segment_bytes), Turns(), 0
        for is_log, frame in _frames(folder, first, iter(reading)):
            try:
                read.records += image.apply(frame.body)
            except BadRecord as error:
                path = folder.segment_path(frame.segment) if is_log else folder.snapshot_path(first)
                raise JournalDamaged(str(path), frame.offset, f"frame {frame.lsn}: {error}") from error
            at += len(frame.body)
            read.share = min(1.0, at / total)
            await turns.end()
    except OSError as error:
        place = error.filename or f"journal folder {folder.path}"
        raise JournalError(f"{place}: it can't be read: {error.strerror or error}") from error
    read.end, read.share = reading.end, 1.0
    read.log_bytes = at - read.snapshot_bytes


def _frames(folder: JournalFolder, first: int, log: Iterator[Frame]) -> Iterator[tuple[bool, Frame]]:
    """Yield all frames in order, and whether each is of the log."""
    if first:
        for frame in read_snapshot(folder, first):
            yield False, frame
    for frame in log:
        yield True, frame
