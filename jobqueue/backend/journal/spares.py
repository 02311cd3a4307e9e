"""Spares: has the next segment made before it is needed, and old ones removed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from jobqueue.backend.journal.frame import frame_bytes
from jobqueue.backend.journal.log_files import MadeSpare, NoRoom, Usage, grow_spare, make_spare, remove_before
from jobqueue.backend.journal.tail import Tail, segment_bytes_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.journal.batch import Batch
    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.log_files import OpenedLog
    from jobqueue.backend.journal.segment import Segment
    from jobqueue.backend.journal.trouble import Troubles

ROOM_RETRY_S: Final = 1.0
"""Seconds until a segment that there was no room for is tried again."""


class Submit(Protocol):
    """Runs a call in the thread of the disk."""

    def __call__(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None: ...


class Spares:
    """Makes the spare of a tail. Every method is for the loop's thread.

    Args:
        bytes_max: Bound of the folder's size. What a snapshot needs may exceed it: it is what makes room.
        submit: Runs a call in the thread of the disk.
        on_made: Called when there is a spare.

    Attributes:
        bytes_used: Size of all segments and snapshots, when the last segment was made or removed.
        segments: Number of segments, the spare included.
        errors_total: Failed calls of the disk.
        has_refused: There was no room for what must begin, when it was tried last.
    """

    def __init__(
        self,
        folder: JournalFolder,
        opened: OpenedLog,
        troubles: Troubles,
        *,
        bytes_max: int,
        segment_bytes: int,
        submit: Submit,
        on_made: Callable[[], None],
    ) -> None:
        self.bytes_used, self.segments = opened.usage
        self.errors_total = 0
        self.has_refused = False
        self._folder = folder
        self._tail: Tail = opened.tail
        self._next_number = opened.next_number
        self._troubles = troubles
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._submit = submit
        self._on_made = on_made
        self._making = False
        self._closed = False
        self._retry_timer: asyncio.TimerHandle | None = None
        # What waits for a spare, as of the last look.
        self._first: Batch | None = None
        self._must_begin = False

    def look(self, first: Batch | None = None, *, must_begin: bool = False) -> None:
        """Have a spare made, or made greater, unless there is one with room for the first batch that waits for it.

        A spare that there was no room for is tried again each second, and at once if it must be.

        Args:
            must_begin: Among the batches that wait for a place is one that begins a segment.
        """
        self._first, self._must_begin = first, must_begin
        needed = self._segment_bytes
        if first is not None:
            needed = max(needed, segment_bytes_for(frame_bytes(first.body)))
        spare = self._tail.spare
        if self._making or self._closed or (spare is not None and spare.size_bytes >= needed):
            return
        if self._retry_timer is not None:
            if not must_begin:
                return
            self._retry_timer.cancel()
            self._retry_timer = None
        self._making = True
        self.has_refused = False
        if spare is not None:
            self._tail.spare = None
            call = partial(grow_spare, self._folder, spare, needed)
        else:
            bytes_max = None if must_begin else self._bytes_max
            call = partial(make_spare, self._folder, self._next_number, needed, bytes_max)
        self._submit(call, partial(self._on_done, spare, must_begin))

    def remove_before(self, number: int) -> asyncio.Future[None]:
        """Remove the segments and snapshots below a number. The future may get OSError."""
        removed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._submit(partial(remove_before, self._folder, number), partial(self._on_removed, removed))
        return removed

    def close(self) -> None:
        """Make none from now on."""
        self._closed = True
        if self._retry_timer is not None:
            self._retry_timer.cancel()

    def _on_done(
        self, small: Segment | None, must_begin: bool, made: MadeSpare | None, error: Exception | None
    ) -> None:
        self._making = False
        if made is not None:
            self._tail.spare = made.segment
            self._next_number = max(self._next_number, made.segment.number + 1)
            self.bytes_used, self.segments = made.usage
            if not must_begin:  # else the bound didn't count, and the next one is about to be made
                self._troubles.full = ""
            self._on_made()
            return
        self._tail.spare = small
        self.has_refused = must_begin
        self.errors_total += not isinstance(error, NoRoom)
        reason = error.strerror if isinstance(error, OSError) else error
        self._troubles.full = f"journal folder {self._folder.path}: there is no room for the next segment: {reason}"
        if self._must_begin and not must_begin:  # it was asked for while this was tried
            self.look(self._first, must_begin=True)
        elif not self._closed:
            self._retry_timer = asyncio.get_running_loop().call_later(ROOM_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        self.look(self._first)

    def _on_removed(self, removed: asyncio.Future[None], usage: Usage | None, error: Exception | None) -> None:
        if usage is not None:
            self.bytes_used, self.segments = usage
        else:
            self.errors_total += 1
        if not removed.done():
            if error is None:
                removed.set_result(None)
            else:
                removed.set_exception(error)
        if self._retry_timer is not None and not self._closed:
            self._retry_timer.cancel()
            self._retry()
