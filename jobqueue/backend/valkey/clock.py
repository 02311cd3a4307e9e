"""The clock of a store beside this process's: each reply tells the store's time, which all processes share.

Rules:

1. Records in the store have integer milliseconds of the store's clock; everything above the backend has seconds of the
   loop's clock, which never steps. `at` and `ms` convert, by an offset in whole milliseconds.
2. A reply comes after the instant that it tells, so each gives an offset that is at most too low. A higher one counts
   at once; a lower one if none within `WINDOW_S` was higher, and the difference is `STEP_S_MIN`.
3. The store's clock is the wall clock of documents, so that every server shows the same instant of a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_S: Final = 10.0
STEP_S_MIN: Final = 0.02
"""Least difference at which the offset is lowered, in seconds."""


class StoreClock:
    """The store's clock, as told by its replies.

    Args:
        now: The loop's clock, in seconds.

    Attributes:
        offset_ms: From the loop's clock to the store's; 0 until a reply has come.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.offset_ms = 0
        self._heard = False
        self._best_ms, self._window_end = -(2**62), 0.0

    def hear(self, store_ms: int) -> None:
        """Follow the time that a reply, just come, tells."""
        now = self.now()
        offset_ms = store_ms - round(now * 1000.0)
        if not self._heard or offset_ms > self.offset_ms:
            self.offset_ms, self._heard = offset_ms, True
        if now >= self._window_end:
            if self._window_end and self._best_ms <= self.offset_ms - STEP_S_MIN * 1000.0:
                self.offset_ms = max(self._best_ms, offset_ms)
            self._best_ms, self._window_end = -(2**62), now + WINDOW_S
        self._best_ms = max(self._best_ms, offset_ms)

    def at(self, ms: int) -> float:
        """Return the instant on the loop's clock of one on the store's."""
        return (ms - self.offset_ms) / 1000.0

    def ms(self, at: float) -> int:
        """Return the instant on the store's clock of one on the loop's."""
        return round(at * 1000.0) + self.offset_ms

    def offset_s(self) -> float:
        """Return the offset from the loop's clock to Unix seconds, as the store's clock has them."""
        return self.offset_ms / 1000.0
