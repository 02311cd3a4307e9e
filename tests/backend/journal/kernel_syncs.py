"""Syncs of the kernel for tests: counted, held, refused, failed."""

from __future__ import annotations

import asyncio
import os
import platform
import threading
from time import perf_counter

import pytest

from jobqueue.backend.journal.disk import Disk
from jobqueue.backend.journal.disk_thread import DiskThread
from jobqueue.backend.journal.kernel_sync import SystemCalls
from jobqueue.backend.journal.log_files import SegmentSync
from jobqueue.backend.journal.segment import Segment
from jobqueue.backend.journal.watched_thread import WatchedThread


def kernel_has_none() -> str:
    """Return why the kernel has no asynchronous calls for this process; empty if it has them."""
    try:
        calls = SystemCalls()
        calls.destroy(calls.setup())
    except OSError as error:
        return f"no asynchronous calls on this machine ({platform.machine()}, {platform.release()}): {error}"
    return ""


_MISSING = kernel_has_none()
needs_kernel = pytest.mark.skipif(bool(_MISSING), reason=_MISSING)


class Syncs:
    """Counts the syncs of the kernel, and those of a thread; can have them fail, or never end.

    Attributes:
        refused: Error of a sync that is to begin; 0: it begins.
        held: A sync that begins is only made up: it ends by `end`.
        result: Of each sync that ends: 0, or an error below zero.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.in_kernel = 0
        self.in_threads: list[int] = []
        self.refused = 0
        self.held = False
        self.result = 0
        self._eventfd = -1
        self._submit, self._take, self._fdatasync = SystemCalls.submit, SystemCalls.result, os.fdatasync
        monkeypatch.setattr(SystemCalls, "submit", lambda calls, *given: self._on_submit(calls, *given))
        monkeypatch.setattr(SystemCalls, "result", lambda calls, context: self._on_result(calls, context))
        monkeypatch.setattr(os, "fdatasync", self._on_fdatasync)

    def end(self) -> None:
        """End a sync that is held."""
        os.eventfd_write(self._eventfd, 1)

    def _on_submit(self, calls: SystemCalls, context: int, fd: int, eventfd: int) -> None:
        self.in_kernel += 1
        self._eventfd = eventfd
        if self.refused:
            raise OSError(self.refused, os.strerror(self.refused))
        if not self.held:
            self._submit(calls, context, fd, eventfd)

    def _on_result(self, calls: SystemCalls, context: int) -> int:
        if not self.held:
            assert self._take(calls, context) == 0
        return self.result

    def _on_fdatasync(self, fd: int) -> None:
        assert threading.current_thread().name == "jobqueue-journal"
        self.in_threads.append(fd)
        self._fdatasync(fd)


class Reports:
    """Collects what is reported of syncs."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self.seconds: list[float | None] = []
        self.threads: set[int] = set()
        self._changed = asyncio.Event()

    def __call__(self, seconds: float | None, error: Exception | None) -> None:
        self.seconds.append(seconds)
        self.errors.append(error)
        self.threads.add(threading.get_ident())
        self._changed.set()

    async def wait_for(self, count: int) -> None:
        while len(self.errors) < count:
            self._changed.clear()
            await self._changed.wait()


def sync(thread: DiskThread | WatchedThread, fd: int, done: Reports, disk: Disk | None = None) -> None:
    thread.sync(SegmentSync(disk or Disk(), [], Segment(1, fd, 4, 0, 4), perf_counter()), done)
