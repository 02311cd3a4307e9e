"""The polling client: one connection, one request at a time, each job read by HEAD or GET when it is due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from clients.behaviours.base import GRAIN_S, SimulatedClient
from clients.wire.connection import NoAnswer

if TYPE_CHECKING:
    from clients.behaviours.base import Slot
    from clients.options import Options
    from clients.wire.connection import Connection


class PollingClient(SimulatedClient):
    """Reads each job over one connection when it is due."""

    def __init__(self, *, options: Options, **common: Any) -> None:
        super().__init__(options=options, **common)
        self._connection = self._connect()
        self._method = options.via.upper()

    def expire(self, now: float) -> None:
        self._connection.expire(now)

    def close(self) -> None:
        self._connection.close()

    async def _step(self) -> None:
        slot = min(self._slots, key=lambda slot: slot.due)
        if await self._reached(slot.due):
            await (self._look if slot.target else self._submit)(self._connection, slot)

    def _follow(self, slot: Slot, poll_after_s: float | None) -> None:
        self._next_look(slot, poll_after_s)

    async def _look(self, connection: Connection, slot: Slot) -> None:
        request = self._requests.read(self._method, slot.target)
        sent_at = time.monotonic()
        try:
            answer = await connection.exchange(request, safe=True, bodiless=self._method == "HEAD")
        except NoAnswer as failure:
            await self._unread(connection, [slot], failure)
            return
        self._read(answer.status, slot.due, sent_at)
        await self._told(connection, slot, answer)

    def _read(self, status: int, due: float, sent_at: float) -> None:
        """Count the answer to a read."""
        now = time.monotonic()
        self._counts.answers += 1
        self._counters.time(f"status {status}", now - (due if sent_at - due > GRAIN_S else sent_at))
        self._counters.time("status-sent", now - sent_at)
