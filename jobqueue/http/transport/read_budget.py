"""The read budget: bounds the requests that are answered per loop iteration.

libuv polls up to 48 times before it runs timers and callbacks, as long as each poll returns 1,024 events.
With more clients than that sending without a pause, an iteration would be tens of thousands of requests
long, and the loop so late that submissions are rejected, by responses that keep it late. So in a long iteration each
answered connection is paused, and resumed in a later iteration, in the order of the pauses. Large bodies and requests
on the stock path count as many responses of the fast path, by their work.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

PORTION = 1024
"""Work per iteration, in responses: of connections that are resumed, and that make one long (detected after twice as
much at most)."""


class Reader(Protocol):
    """A connection with reading that can be paused."""

    def hold(self) -> None: ...

    def release(self) -> None: ...


class ReadBudget:
    """The work left in the present loop iteration, in responses.

    Attributes:
        left: To be lowered with each response; below zero, `use_up` is to be called for each connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.left = PORTION
        self._loop = loop
        self._ending = False
        self._held: deque[tuple[Reader, int]] = deque()

    def use_up(self, reader: Reader, work: int) -> None:
        """Pause a connection that caused this work, unless that was the end of many short iterations, as usual."""
        if self._ending:
            reader.hold()
            self._held.append((reader, work))
        else:
            # Only now, since a callback in each iteration would cost more than the rest.
            self._ending = True
            self.left = PORTION
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        going_on, room = list[Reader](), PORTION
        while self._held and room > 0:
            reader, work = self._held.popleft()
            going_on.append(reader)
            room -= work
        if self._held:  # newly paused ones queue behind them
            self.left = 0
            self._loop.call_soon(self._begin)
        else:
            self.left = PORTION
            self._ending = False
        for reader in going_on:
            reader.release()
