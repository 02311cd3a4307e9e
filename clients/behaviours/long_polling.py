"""The long-polling client: for each job one GET with `Prefer: wait` (RFC 7240), answered when it ends.

One request a job and not one `?ids=` for all of them: the latter is answered at any change, so that k jobs
are up to 2k answers (each starts, each ends) of k documents each, while here a job is one answer of one
document. Measured with three jobs a client: 2.0 requests a job instead of 2.9, and four fifths of the server's CPU.
The price is a connection for each job that lives, kept for the next one, and bounded.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from clients.behaviours.base import SimulatedClient
from clients.options import JOBS_AT_ONCE
from clients.wire.connection import NoAnswer
from jobqueue.client import waited_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.behaviours.base import Slot
    from clients.options import Options
    from clients.wire.connection import Connection

WAIT_S = 20  # asked for in one request


class FollowingClient(SimulatedClient):
    """Follows each accepted job in a task of its own, some at once, while others are still rejected."""

    def __init__(self, *, options: Options, **common: Any) -> None:
        super().__init__(options=options, **common)
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._places = asyncio.Semaphore(JOBS_AT_ONCE)
        self._followers: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        async with self._group:
            await super().run()

    def expire(self, now: float) -> None:
        for connection in self._busy:
            connection.expire(now)

    def close(self) -> None:
        for connection in (*self._idle, *self._busy):
            connection.close()

    async def _step(self) -> None:
        refused = [slot for slot in self._slots if not slot.target]
        if not refused:
            await asyncio.wait(self._followers, return_when=asyncio.FIRST_COMPLETED)
            return
        slot = min(refused, key=lambda slot: slot.due)
        if await self._reached(slot.due):
            with self._line() as connection:
                await self._submit(connection, slot)

    def _follow(self, slot: Slot, poll_after_s: float | None) -> None:
        slot.due = time.monotonic()
        follower = self._group.create_task(self._until_over(slot))
        self._followers.add(follower)
        follower.add_done_callback(self._followers.discard)

    async def _until_over(self, slot: Slot) -> None:
        async with self._places:
            while slot in self._slots:
                if await slot.alarm.until(slot.due):
                    await self._hear_of(slot)

    @abstractmethod
    async def _hear_of(self, slot: Slot) -> None:
        """Ask about a job, at once or after a pause; schedule the next request unless it has ended."""

    @contextmanager
    def _line(self) -> Iterator[Connection]:
        """Take a free connection, or a new one."""
        connection = self._idle.pop() if self._idle else self._connect()
        self._busy.add(connection)
        try:
            yield connection
        finally:
            self._busy.discard(connection)
            self._idle.append(connection)


class LongPollingClient(FollowingClient):
    """Follows each job by long polls."""

    async def _hear_of(self, slot: Slot) -> None:
        request = self._requests.read("GET", slot.target, f"Prefer: wait={WAIT_S}\r\n")
        with self._line() as connection:
            sent_at = time.monotonic()
            try:
                answer = await connection.exchange(request, safe=True, quiet_s=WAIT_S)
            except NoAnswer as failure:
                await self._unread(connection, [slot], failure)
                return
            waited_s = time.monotonic() - sent_at
            self._counts.answers += 1
            self._counters.time(f"wait {answer.status}", waited_s)
            await self._told(connection, slot, answer)
            if waited_out(answer.header(b"preference-applied") or "", waited_s):
                slot.due = time.monotonic()
