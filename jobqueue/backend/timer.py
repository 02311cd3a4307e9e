"""The timer of the backend in memory: sleeps until the next deadline, lets it tick, and sleeps again.

Nothing polls. Every operation may have set a deadline, so the backend has the timer check whether
the next one is earlier than the instant it sleeps to: once for all operations of a loop iteration.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Ticking(Protocol):
    def tick(self) -> float | None: ...

    def next_at(self) -> float | None: ...


class Timer:
    """The timer: calls `tick` when its source is next due; the source's clock is the loop's.

    Attributes:
        looking: It is going to look for an earlier deadline; `look` does nothing until then.
    """

    def __init__(self, source: Ticking) -> None:
        self._source = source
        self._handle: asyncio.TimerHandle | None = None
        self._at = float("inf")
        self._running = False
        self.looking = False

    def start(self) -> None:
        self._running = True
        self.look()

    def stop(self) -> None:
        self._running = False
        self._disarm()

    def look(self) -> None:
        """Wake earlier if a deadline is due before; checked at the end of the loop iteration."""
        if not self.looking:
            self.looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self.looking = False
        if self._running:
            self._arm(self._source.next_at())

    def _arm(self, at: float | None) -> None:
        if at is None or at >= self._at:
            return
        self._disarm()
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._at = at
        # uvloop rounds to milliseconds, so a timer may fire early; without this floor it would then spin.
        self._handle = loop.call_at(at if at <= now else max(at, now + 0.001), self._wake)

    def _disarm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle, self._at = None, float("inf")

    def _wake(self) -> None:
        self._handle, self._at = None, float("inf")
        try:
            self._source.tick()
        finally:
            self.look()
