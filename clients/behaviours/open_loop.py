"""The open loop: submissions at a given rate, whatever the answers are.

A fleet of clients that wait for their answers slows down with the server, and so never overloads it for
long. Here each submission has a time of its own, drawn beforehand (a Poisson process); it is sent then, or as
soon as a connection is free, and its latency counts from that time. A rejected one is not sent
again. Accepted jobs are polled until they have ended.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from clients.behaviours.base import GRAIN_S, Slot
from clients.behaviours.polling import PollingClient

if TYPE_CHECKING:
    from clients.options import Options
    from clients.wire.connection import Connection

TICK_S = 0.001  # of the loop's timers
IDLE_S = 60.0  # a sleep that ends sooner, as something cuts it


class OpenLoop(PollingClient):
    """One process's share of the load, over many connections.

    Args:
        rate: Submissions a second.
        connections: Number of connections, used in turn.
    """

    def __init__(self, *, options: Options, rate: float, connections: int, **common: Any) -> None:
        super().__init__(options=options, **common)
        self._rate = rate
        self._connections = [self._connection, *(self._connect() for _ in range(connections - 1))]
        self._idle = deque(self._connections)
        self._backlog: deque[Slot] = deque()
        self._served: set[Slot] = set()  # in an exchange, or in the backlog
        self._agenda: list[tuple[float, int, Slot]] = []
        self._number = itertools.count()
        self._group = asyncio.TaskGroup()

    def expire(self, now: float) -> None:
        for connection in self._connections:
            connection.expire(now)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def run(self) -> None:
        async with self._group:
            await self._go()
        self.close()

    def finish(self, last_look: float) -> None:
        super().finish(last_look)
        for slot in self._slots:
            if slot not in self._served:
                self._plan(slot)
        self._alarm.cut()

    async def _go(self) -> None:
        next_at = self._due + self._rng.expovariate(self._rate)
        self._counts.clients += len(self._connections)
        while self._creating or self._slots:
            planned_at = self._agenda[0][0] if self._agenda else math.inf
            now = time.monotonic()
            due = min(next_at if self._creating else math.inf, planned_at, now + IDLE_S)
            # A sleep below the resolution of the loop's timers would return at once, again and again.
            if due > now and not await self._alarm.until(max(due, now + TICK_S)):
                continue
            now = time.monotonic()
            while next_at <= now and self._creating:
                slot = Slot(next_at)
                self._slots[slot] = None
                self._serve(slot)
                next_at += self._rng.expovariate(self._rate)
            while self._agenda and self._agenda[0][0] <= now:
                due, _, slot = heapq.heappop(self._agenda)
                if slot in self._slots and slot not in self._served and slot.due == due:  # not rescheduled
                    self._serve(slot)

    def _serve(self, slot: Slot) -> None:
        self._served.add(slot)
        if self._idle:
            self._group.create_task(self._converse(self._idle.popleft(), slot))
        else:
            self._backlog.append(slot)

    async def _converse(self, connection: Connection, slot: Slot) -> None:
        """Make the exchange that is due for a job, and those that meanwhile waited for a connection."""
        while True:
            if slot in self._slots:  # not given up meanwhile
                self._counters.time("late", max(0.0, time.monotonic() - slot.due))
                await (self._look if slot.target else self._submit)(connection, slot)
            self._served.discard(slot)
            if slot in self._slots:
                self._plan(slot)
            if not self._backlog:
                break
            slot = self._backlog.popleft()
        self._idle.append(connection)
        if not self._slots:
            self._alarm.cut()

    def _plan(self, slot: Slot) -> None:
        heapq.heappush(self._agenda, (slot.due, next(self._number), slot))
        if self._agenda[0][2] is slot:
            self._alarm.cut()

    def _submitted_at(self, slot: Slot) -> float:
        return slot.due if slot.sent_at - slot.due > GRAIN_S else slot.sent_at

    def _put_off(self, slot: Slot, pause_s: float) -> None:
        self._give_up(slot)

    def _give_up(self, slot: Slot) -> None:
        if not slot.sent_at:
            self._counts.unsent += 1
        super()._give_up(slot)
