"""Pauses between attempts to connect: each longer than the one before, up to a bound, and of random length."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

PAUSE_MIN_S = 0.05
PAUSE_MAX_S = 1.0


class Pauses:
    """The pauses of one line. So a thousand servers don't come back to a store in the same instant."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._longest_s = PAUSE_MIN_S

    def reset(self) -> None:
        """Begin anew with the shortest: an attempt has succeeded."""
        self._longest_s = PAUSE_MIN_S

    def next_s(self) -> float:
        """Return the length of the next pause."""
        drawn = self._longest_s * self._rng.uniform(0.5, 1.0)
        self._longest_s = min(PAUSE_MAX_S, 2 * self._longest_s)
        return drawn

    async def wait(self) -> None:
        """Pause."""
        await asyncio.sleep(self.next_s())
