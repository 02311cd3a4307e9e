"""CoDel as networks use it: drops jobs from a standing queue, at intervals that shrink with the root of their number.

The product only observes the standing queue (`jobqueue.core.scheduling.codel`) and drops nothing; the lab compares.
"""

from __future__ import annotations

from math import sqrt

from jobqueue.core.scheduling.codel import CoDel

CYCLE_INTERVALS = 16
"""A queue that is standing again within this number of intervals is dropped from at the rate that was enough before."""


class DroppingCoDel(CoDel):
    """Controlled delay with its drops: the pseudo-code of RFC 8289, section 5, job by job."""

    __slots__ = ("_count", "_count_at_entry", "_drop_next_at", "_dropped", "_dropping")

    def __init__(self, *, target_s: float, interval_s: float) -> None:
        super().__init__(target_s=target_s, interval_s=interval_s)
        self._dropping = False
        self._dropped = False  # the job before this one
        self._drop_next_at = 0.0
        self._count = self._count_at_entry = 0

    def drops(self, now: float, *, waited_s: float, backlog: int) -> bool:
        """Return whether to drop the job that was just taken. Called instead of `observe`.

        While there is a standing queue, drops come at intervals that shrink with the square root of their count.
        """
        if not self.observe(now, waited_s=waited_s, backlog=backlog):
            self._dropping = self._dropped = False
            return False
        if not self._dropping:
            self._dropping = True
            shed = self._count - self._count_at_entry
            recent = now - self._drop_next_at < CYCLE_INTERVALS * self._interval_s
            self._count = self._count_at_entry = shed if shed > 1 and recent else 1
            self._drop_next_at = now + self._pause_s()
            return True
        if self._dropped:  # and that was not enough
            self._drop_next_at += self._pause_s()
            self._dropped = False
        if now < self._drop_next_at:
            return False
        self._count += 1
        self._dropped = True
        return True

    def _pause_s(self) -> float:
        """Return the interval to the next drop: the control law."""
        return self._interval_s / sqrt(self._count)
