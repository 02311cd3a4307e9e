"""Progress of attempts: at most 20 reports a second of each reach the backend, and so the clients.

Rules:

1. The newest report always arrives: at once if the last one is old enough, else when the interval is over or the
   attempt ends, whichever comes first. A report that is overtaken before it is sent is dropped.
2. `ProgressReporter` bounds the rate, for handlers on the loop, in threads and in processes alike.
3. `PipeThrottle` keeps a handler that reports in a tight loop from flooding the pipe of its process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from jobqueue.core.report import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from jobqueue.context import ProgressSink

INTERVAL_S = 0.05


class ProgressReporter:
    """Passes the latest progress of an attempt on, on the loop: one report at a time, with an interval between."""

    def __init__(self, send: Callable[[Progress], Coroutine[Any, Any, None]]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._latest: deque[Progress] = deque(maxlen=1)  # put and taken atomically, from any thread
        self._awaited = False
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None

    def tell(self, fraction: float, note: str | None) -> None:
        """Report progress, from any thread."""
        self._latest.append(Progress(fraction, note))
        if self._awaited:
            return  # the next sending takes the latest report
        self._awaited = True
        if asyncio._get_running_loop() is self._loop:
            self._plan()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and so is the attempt
                self._loop.call_soon_threadsafe(self._plan)

    async def finish(self) -> None:
        """Send the latest report now, before the outcome."""
        if self._timer is not None:
            self._timer.cancel()
        await self._send_latest()

    def _plan(self) -> None:
        if self._loop.time() >= self._due_at:
            self._begin()
        else:
            self._timer = self._loop.call_at(self._due_at, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._awaited = False  # before the latest is taken, so that each later report is seen
        self._due_at = self._loop.time() + INTERVAL_S
        if self._sending is None or self._sending.done():
            self._sending = self._loop.create_task(self._send_latest())

    async def _send_latest(self) -> None:
        async with self._turn:  # not by waiting for the task, which may not have begun
            while self._latest:
                await self._send(self._latest.pop())


class PipeThrottle:
    """Passes reports on to `send`, from the thread that reports or from a timer's, never from two at a time."""

    def __init__(self, send: ProgressSink) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._latest: tuple[float, str | None] | None = None
        self._due_at = 0.0
        self._timer: threading.Timer | None = None
        self._closed = False

    def __call__(self, fraction: float, note: str | None) -> None:
        with self._lock:
            if self._closed:
                return
            self._latest = (fraction, note)
            if self._timer is not None:
                return
            wait_s = self._due_at - time.monotonic()
            if wait_s <= 0:
                self._pass_on()
            else:
                self._timer = threading.Timer(wait_s, self._when_due)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Pass on the waiting report, and none after that."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            self._pass_on()

    def _when_due(self) -> None:
        with self._lock:
            self._timer = None
            self._pass_on()

    def _pass_on(self) -> None:
        if self._latest is not None:
            latest, self._latest = self._latest, None
            self._due_at = time.monotonic() + INTERVAL_S
            self._send(*latest)
