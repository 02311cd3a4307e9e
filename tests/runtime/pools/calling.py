"""Calls of the tests of both pools, and waiting for their reports, log events and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import select
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobqueue.core.stored_file import StoredFile
from jobqueue.log import EventMessage
from jobqueue.runtime.pools.call import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.report import Failure, Success
    from jobqueue.runtime.pools.processes import ProcessPool
    from jobqueue.runtime.pools.threads import ThreadPool

CONTEXT_TAKERS = {
    "describe",
    "write_result",
    "report",
    "report_and_wait",
    "hang",
    "hang_with_a_child",
    "fork_a_child_and_die",
    "answer_and_die",
    "hold_the_interpreter",
    "wait_until_cancelled",
    "wait_for",
    "be_signalled",
    "leave_descendants",
    "log_something",
    "log_invalid_records",
}


def call_of(func: Callable[..., Any], *, folder: Path = Path("unused"), **kwargs: Any) -> Call:
    return Call(
        func=func,
        kwargs=kwargs,
        context_name="ctx" if getattr(func, "__name__", "") in CONTEXT_TAKERS else None,
        job_id="some-job",
        type="some-type",
        attempt=3,
        group="some-group",
        files={"text": (StoredFile(str(folder / "upload"), "text/plain", 5, "greeting.txt"),)},
        folder=str(folder / "results"),
        result_bytes_max=1_000_000,
    )


class Run:
    """A running call, and its progress reports."""

    def __init__(self, pool: ThreadPool | ProcessPool, call: Call) -> None:
        self.reports: list[tuple[float, str | None]] = []
        self._reported = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.task: asyncio.Task[Success | Failure] = asyncio.create_task(pool.run(call, on_progress=self._on_progress))

    def _on_progress(self, fraction: float, note: str | None) -> None:
        self._loop.call_soon_threadsafe(self._note, fraction, note)

    def _note(self, fraction: float, note: str | None) -> None:
        self.reports.append((fraction, note))
        self._reported.set()

    async def next_report(self) -> str:
        """Wait for the next report; return its note."""
        await self._reported.wait()
        self._reported.clear()
        note = self.reports[-1][1]
        assert note is not None
        return note

    async def cancel(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()


async def run(pool: ThreadPool | ProcessPool, func: Callable[..., Any], **kwargs: Any) -> Success | Failure:
    return await Run(pool, call_of(func, **kwargs)).task


async def end_of(pid: int) -> None:
    """Wait until a process ends, a child of this one or not."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(5):
            await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def block_until_the_end_of(pid: int) -> None:
    """Wait as `end_of` does, but block the loop."""
    fd = os.pidfd_open(pid)
    ended = select.poll()
    ended.register(fd, select.POLLIN)
    assert ended.poll(5000)
    os.close(fd)


class LogEvents(logging.Handler):
    """Collects log events, and lets a test wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._loop = asyncio.get_running_loop()
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        assert isinstance(record.msg, EventMessage)
        self.events.append((record.msg.event, dict(record.msg.fields)))
        self._loop.call_soon_threadsafe(self._more.set)

    def of(self, name: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == name]

    async def wait(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until an event was logged `count` times."""
        async with asyncio.timeout(10):
            while len(self.of(name)) < count:
                self._more.clear()
                await self._more.wait()
        return self.of(name)
