"""Turns: one large body is decoded at a time, and between two the loop runs its timers and answers others.

A megabyte of JSON takes up to 125 ms of CPU to be parsed and checked, and twice as long with half a CPU. Without turns,
those of many connections that are complete in the same loop iteration are decoded one after the other in the next one.

Rules:

1. One turn is given in two iterations: a task that a timer wakes runs in the iteration after it.
2. Turns are given in the order of their requests. A cancelled one is passed over.
"""

from __future__ import annotations

import asyncio
from collections import deque

LARGE_BYTES = 64 * 1024
"""Bodies of at most this size need no turn: a few milliseconds of work."""


class Turns:
    """The turns of one loop."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Return when it is this caller's turn: at once, if none was given of late."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            self._taken = True
            loop.call_soon(self._pause, loop)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _pause(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(self._give, loop)

    def _give(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                loop.call_soon(self._pause, loop)
                return
        self._taken = False
