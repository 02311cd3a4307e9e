"""DiskThread: runs calls that wait for the disk, one after another in a thread, and reports to the loop.

Rules:

1. A sync of the current segment alone is the kernel's own where that is possible (`kernel_sync`): `always` has hundreds
   of them a second. All other calls are the thread's, and so is a sync that the kernel refuses.
2. Such a sync overlaps with calls of the thread, and has to come before or after none of them. A spare is another file,
   and is written only once its making was reported. Files that are removed are below a segment that was synced before
   their removal was asked for. Retired segments are synced together with the current one, by one call of the thread,
   and the writer has one sync at a time. Another one may begin after a failure, of a new file: the old one, which may
   be closed meanwhile, is never trusted again, and the writer ignores what is reported of it.
3. The writer hands over hundreds of calls a second, so there is no future and no task for one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from jobqueue.backend.journal.kernel_sync import KernelSync

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.journal.log_files import SegmentSync

T = TypeVar("T")


class RunsCalls(Protocol):
    """Runs calls beside the loop, in order but for syncs; tests have one without a thread."""

    def submit(self, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Run a call; `done` gets its result or its exception, on the loop."""

    def sync(self, sync: SegmentSync, done: Callable[[float | None, Exception | None], None]) -> None:
        """Run a sync, not always in order with the other calls."""
        self.submit(sync.run, done)

    @property
    def oldest_at(self) -> float | None:
        """When the oldest call that isn't done was submitted, by the loop's clock; None: all are done."""

    async def close(self) -> None:
        """Wait for all calls, and end."""


class DiskThread(RunsCalls):
    """A thread for calls that wait for the disk, and the kernel for syncs. Every method is for the loop's thread.

    It is a daemon: a disk that never answers must not keep the process from ending.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]] | None] = (
            SimpleQueue()
        )
        self._submitted: deque[float] = deque()
        self._kernel_sync = KernelSync()
        self._thread = threading.Thread(target=self._run, name="jobqueue-journal", daemon=True)
        self._thread.start()

    @property
    def oldest_at(self) -> float | None:
        """When the oldest call that isn't done was submitted, by the loop's clock; None: all are done."""
        in_kernel = self._kernel_sync.began_at
        if not self._submitted:
            return in_kernel
        return self._submitted[0] if in_kernel is None else min(self._submitted[0], in_kernel)

    def submit(self, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Run a call; `done` gets its result or its exception, on the loop."""
        self._submitted.append(self._loop.time())
        self._calls.put((call, done))

    def sync(self, sync: SegmentSync, done: Callable[[float | None, Exception | None], None]) -> None:
        """Have the kernel sync the current segment if it is the only one, else run the sync in the thread."""
        if not (
            sync.current is not None
            and not sync.retired
            and sync.disk.syncs_in_kernel
            and self._kernel_sync.begin(sync.current.fd, partial(_report_sync, sync, done))
        ):
            super().sync(sync, done)

    async def close(self) -> None:
        """Wait for all calls, and end the thread. Cancelled, it leaves the thread to end when its calls have."""
        try:
            await self._kernel_sync.close()  # first: the report of a sync that has failed submits a call
            ended: asyncio.Future[None] = self._loop.create_future()
            self.submit(self._kernel_sync.destroy, partial(settle, ended))
            await ended
        finally:
            self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, done = item
            result, error = None, None
            try:
                result = call()
            except Exception as raised:
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._report, done, result, error)
            except RuntimeError:  # the loop is closed: there is nothing left to report to
                return
            del item, call, done, result, error

    def _report(self, done: Callable[[Any, Exception | None], None], result: Any, error: Exception | None) -> None:
        self._submitted.popleft()
        done(result, error)


def _report_sync(
    sync: SegmentSync, done: Callable[[float | None, Exception | None], None], error: OSError | None
) -> None:
    done(sync.seconds if error is None else None, error)


def settle(future: asyncio.Future[T], result: T | None, error: Exception | None) -> None:
    """Give a future the result or the exception of a call."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(cast("T", result))
