"""Held time: the clock and the timers of a running loop stand still, and go on when the test says so.

The sockets stay real: `jobqueue.testing.VirtualLoop`, whose time jumps by itself, would jump while bytes are on their
way. However long a machine stalls, nothing under held time is late.
"""

from __future__ import annotations

import asyncio
import contextvars
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class HeldTime:
    """Replaces `time`, `call_at` and `call_later` of the running loop.

    Attributes:
        now: The loop's time, in seconds.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._timers: list[tuple[float, int, HeldTimer]] = []
        self._numbers = count()
        patch.setattr(loop, "time", lambda: self.now)
        patch.setattr(loop, "call_at", self._call_at)
        patch.setattr(loop, "call_later", lambda delay_s, *call, **at: self._call_at(self.now + delay_s, *call, **at))

    def _call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> HeldTimer:
        timer = HeldTimer(when, callback, args, context or contextvars.copy_context())
        heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def advance(self, latest: float) -> bool:
        """Go on to the next timer, and run all that are due then; False, with nothing done: none is until `latest`."""
        while self._timers and self._timers[0][2].cancelled():
            heappop(self._timers)
        if not self._timers or self._timers[0][0] > latest:
            return False
        self.now = max(self.now, self._timers[0][0])
        due = []
        while self._timers and self._timers[0][0] <= self.now:
            due.append(heappop(self._timers)[2])
        loop = asyncio.get_running_loop()
        for timer in due:
            loop.call_soon(timer.run)
        return True


class HeldTimer:
    """A timer, as far as asyncio and aiohttp use one."""

    def __init__(
        self, when: float, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context
    ) -> None:
        self._when = when
        self._call: tuple[Callable[..., object], tuple[Any, ...]] | None = (callback, args)
        self._context = context

    def when(self) -> float:
        return self._when

    def cancelled(self) -> bool:
        return self._call is None

    def cancel(self) -> None:
        self._call = None

    def run(self) -> None:
        if self._call is not None:
            callback, args = self._call
            self._context.run(callback, *args)
