"""The rate of log lines that clients cause: so many in each second, and no more. A leaf."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LineRate:
    """Counts the lines of one kind in the present second, on one thread.

    Args:
        per_s_max: Maximum number in a second.
        clock: Seconds.
    """

    def __init__(self, per_s_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s_max = per_s_max
        self._clock = clock
        self._second = self._left = 0

    def take(self) -> bool:
        """Count a line that is to be written; False: it is one too many."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._left = second, self._per_s_max
        if not self._left:
            return False
        self._left -= 1
        return True
