"""CoDel: tells a standing queue from a burst by its queueing delay."""

from __future__ import annotations

from math import sqrt

BACKLOG_MIN = 1
"""Up to this many jobs left behind are no queue yet: RFC 8289's one packet of the largest size."""

CYCLE_INTERVALS = 16
"""If shedding resumes within this many intervals, it starts at the last sufficient rate."""


class CoDel:
    """Controlled delay: detects a standing queue.

    A burst makes jobs wait too, but its queue empties soon. Only a delay that stays above the target for a
    whole interval, never once below, shows load above capacity (Nichols & Jacobson,
    "Controlling queue delay", ACM Queue 2012; RFC 8289, whose pseudo-code `drops` follows job by job).

    Args:
        target_s: Acceptable standing queueing delay.
        interval_s: How long the delay may exceed the target in a burst.
    """

    __slots__ = (
        "_above_until",
        "_count",
        "_count_at_entry",
        "_drop_next_at",
        "_dropped",
        "_dropping",
        "_interval_s",
        "_target_s",
        "standing",
    )

    def __init__(self, *, target_s: float, interval_s: float) -> None:
        self._target_s = target_s
        self._interval_s = interval_s
        self.standing = False
        # When the delay will have been above the target for an interval; None: it is below.
        self._above_until: float | None = None
        self._dropping = False
        self._dropped = False  # the job before this one
        self._drop_next_at = 0.0
        self._count = self._count_at_entry = 0

    def observe(self, now: float, *, sojourn_s: float, backlog: int) -> bool:
        """Record the delay of a job that was taken, and the number left; return whether the queue stands."""
        if sojourn_s < self._target_s or backlog <= BACKLOG_MIN:
            self.ran_empty()
        elif self._above_until is None:
            self._above_until = now + self._interval_s
        elif now >= self._above_until:
            self.standing = True
        return self.standing

    def ran_empty(self) -> None:
        """Record that the queue is empty."""
        self._above_until = None
        self.standing = False

    def drops(self, now: float, *, sojourn_s: float, backlog: int) -> bool:
        """Whether the classic algorithm would drop the job that was just taken. Call it instead of `observe`.

        While the queue stands, drops come at intervals that shrink with the square root of their count.
        """
        if not self.observe(now, sojourn_s=sojourn_s, backlog=backlog):
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
        """The control law: the more were dropped, the sooner comes the next."""
        return self._interval_s / sqrt(self._count)
