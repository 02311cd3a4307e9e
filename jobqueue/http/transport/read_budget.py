"""Turns of the loop: how many requests are answered in one.

libuv looks for news up to 48 times before it lets timers and callbacks run, as long as it finds 1,024 at each look.
With more clients than that who ask again as soon as they are answered, a turn would be tens of thousands of requests
long, and the loop so late that submissions are refused, by answers which keep it late. So where a turn has become long
whoever is answered is held: what it sends next isn't read before its turn comes, after all who were held before it.

It must not know what is asked.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

PORTION = 1024
"""How many are let go on in a turn; and how many answers make one long, though it may take twice as many to see it."""


class Reader(Protocol):
    """Whoever can be kept from reading what comes."""

    def hold(self) -> None: ...

    def release(self) -> None: ...


class ReadBudget:
    """The answers that one turn of the loop may still give.

    Attributes:
        left: To be lowered with each answer; below zero, `use_up` is to be called for each connection.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.left = PORTION
        self._loop = loop
        self._ending = False
        self._held: deque[Reader] = deque()

    def use_up(self, reader: Reader) -> None:
        """Hold a reader, unless these were the answers of many short turns, as they mostly are."""
        if self._ending:
            reader.hold()
            self._held.append(reader)
        else:
            # Only now, since a callback in each turn would cost more than all else here.
            self._ending = True
            self.left = PORTION
            self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        going_on = [self._held.popleft() for _ in range(min(PORTION, len(self._held)))]
        if self._held:  # who is answered waits behind them
            self.left = 0
            self._loop.call_soon(self._begin)
        else:
            self.left = PORTION
            self._ending = False
        for reader in going_on:
            reader.release()
