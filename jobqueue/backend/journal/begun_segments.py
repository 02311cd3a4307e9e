"""BegunSegments: segments with the place of their first frame, until that is on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.backend.journal.trouble import failure

if TYPE_CHECKING:
    from asyncio import Future


class BegunSegments:
    """Waits for segments that have begun. It is true while there are any."""

    def __init__(self) -> None:
        self._waits: list[tuple[int, int, Future[int]]] = []

    def __bool__(self) -> bool:
        return bool(self._waits)

    def add(self, lsn: int, number: int, begun: Future[int]) -> None:
        """Let a future get the number of a segment, once the frame of this lsn is on the disk."""
        self._waits.append((lsn, number, begun))

    def settle(self, lsn: int) -> None:
        """End the waits for frames below a lsn: they are on the disk."""
        if not self._waits:
            return
        synced = [wait for wait in self._waits if wait[0] < lsn]
        self._waits = [wait for wait in self._waits if wait[0] >= lsn]
        for _, number, begun in synced:
            if not begun.done():
                begun.set_result(number)

    def fail(self, reason: str) -> None:
        """Give the reason to the waits that have not ended."""
        for _, _, begun in self._waits:
            if not begun.done():
                begun.set_exception(failure(reason))
