"""The wall clock beside the engine's clock: converts instants to Unix seconds, and follows steps.

Rules:

1. Deadlines follow the engine's clock, which never steps; the wall clock matters only for input and output
   (`run_at`, documents), at its present setting.
2. The offset between the two is constant, in whole milliseconds, until the wall clock is set, or has drifted by
   `STEP_S_MIN`: so a document has the same times at each request.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_S_MIN = 0.01
"""Least difference of the wall clock before the offset follows, in seconds."""

READ_S_MAX = 0.001
"""Maximum time between the readings of both clocks for their difference to count, in seconds."""


class WallClock:
    """The offset of the wall clock.

    Args:
        now: The engine's clock, in seconds.
        wall: The wall clock, in Unix seconds. Defaults to the system's.
        steady: A clock of the same machine that never steps, in seconds. Defaults to the system's.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._steady = wall, steady
        # Not by the engine's clock, which may be a virtual one: steps are seen by the difference to the steady one.
        self._follow_from(wall() - steady())
        self._offset_s = round(wall() - now(), 3)

    def offset_s(self) -> float:
        """Return the offset from the engine's clock to Unix seconds."""
        if self._ahead_s_min < self._wall() - self._steady() < self._ahead_s_max:
            return self._offset_s
        return self._follow()

    def _follow(self) -> float:
        before = self._steady()
        ahead_s = self._wall() - before
        if self._steady() - before < READ_S_MAX:  # else it was interrupted in between, and the next call tries again
            self._offset_s = round(self._offset_s + ahead_s - self._ahead_s, 3)
            self._follow_from(ahead_s)
        return self._offset_s

    def _follow_from(self, ahead_s: float) -> None:
        # Both bounds are kept, since each document asks.
        self._ahead_s, self._ahead_s_min, self._ahead_s_max = ahead_s, ahead_s - STEP_S_MIN, ahead_s + STEP_S_MIN
