"""DiskThread: runs calls that wait for the disk, one after another in a thread, and reports to the loop.

The writer of the journal hands it a few hundred calls a second, so it takes no future and no task for one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class RunsCalls(Protocol):
    """Runs calls beside the loop, in order; tests have one without a thread."""

    def submit(self, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Run a call; `done` gets its result or its exception, on the loop."""

    @property
    def oldest_at(self) -> float | None:
        """When the oldest call that isn't done was submitted, by the loop's clock; None: all are done."""

    async def close(self) -> None:
        """Wait for all calls, and end."""


class DiskThread:
    """A thread for calls that wait for the disk. Every method is for the loop's thread.

    It is a daemon: a disk that never answers must not keep the process from ending.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]] | None] = (
            SimpleQueue()
        )
        self._submitted: deque[float] = deque()
        self._thread = threading.Thread(target=self._run, name="jobqueue-journal", daemon=True)
        self._thread.start()

    @property
    def oldest_at(self) -> float | None:
        """When the oldest call that isn't done was submitted, by the loop's clock; None: all are done."""
        return self._submitted[0] if self._submitted else None

    def submit(self, call: Callable[[], T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Run a call; `done` gets its result or its exception, on the loop."""
        self._submitted.append(self._loop.time())
        self._calls.put((call, done))

    async def close(self) -> None:
        """Wait for all calls, and end the thread."""
        ended = self._loop.create_future()
        self.submit(lambda: None, lambda result, error: None if ended.done() else ended.set_result(None))
        await ended
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


def settle(future: asyncio.Future[T], result: T | None, error: Exception | None) -> None:
    """Give a future the result or the exception of a call."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(cast("T", result))
