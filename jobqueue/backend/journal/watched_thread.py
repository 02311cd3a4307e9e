"""WatchedThread: the thread of the disk, and a watch on how long its calls, and syncs in the kernel, take."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.journal.disk_thread import RunsCalls
    from jobqueue.backend.journal.log_files import SegmentSync

STALL_S: Final = 10.0
"""Seconds after which a call stalls the journal, and that its end is waited for."""


class WatchedThread:
    """Runs calls in a thread.

    Args:
        on_stalled: Called when a call has taken `STALL_S`, and again after each further `STALL_S`.
        before_report: Called before the result of a call is reported.
        after_report: Called after it.
    """

    def __init__(
        self,
        thread: RunsCalls,
        *,
        on_stalled: Callable[[], None],
        before_report: Callable[[], None],
        after_report: Callable[[], None],
    ) -> None:
        self._thread = thread
        self._on_stalled = on_stalled
        self._before_report = before_report
        self._after_report = after_report
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(self, call: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        """Run a call; `done` gets its result or its exception, on the loop."""
        self._thread.submit(call, partial(self._report, done))
        self._watch()

    def sync(self, sync: SegmentSync, done: Callable[[float | None, Exception | None], None]) -> None:
        """Run a sync in the thread, or have the kernel do it."""
        self._thread.sync(sync, partial(self._report, done))
        self._watch()

    async def close(self) -> bool:
        """End the thread. False if it hasn't ended after `STALL_S`: a call still waits for the disk."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(STALL_S):
                await self._thread.close()
        except TimeoutError:
            return False
        return True

    def _report(self, done: Callable[[Any, Exception | None], None], result: Any, error: Exception | None) -> None:
        self._before_report()
        done(result, error)
        self._after_report()
        self._watch()

    def _watch(self) -> None:
        oldest_at = self._thread.oldest_at
        if self._timer is None and oldest_at is not None and not self._closed:
            self._timer = self._loop.call_at(max(oldest_at, self._loop.time() - STALL_S) + STALL_S, self._check)

    def _check(self) -> None:
        self._timer = None
        oldest_at = self._thread.oldest_at
        if oldest_at is None:
            return
        if self._loop.time() >= oldest_at + STALL_S:
            self._on_stalled()
            self._timer = self._loop.call_later(STALL_S, self._check)
        else:
            self._watch()
