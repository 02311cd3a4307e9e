"""CoDel: distinguishes a standing queue from a burst by its queueing delay."""

from __future__ import annotations

from typing import Final

BACKLOG_MIN: Final = 1
"""Up to this many jobs left behind are no queue yet: RFC 8289's one packet of the largest size."""


class CoDel:
    """Controlled delay: detects a standing queue.

    A burst makes jobs wait too, but its queue empties soon. Only a delay that stays above the target for a
    whole interval, never once below, shows load above capacity (Nichols & Jacobson,
    "Controlling queue delay", ACM Queue 2012; RFC 8289).

    Args:
        target_s: Acceptable standing queueing delay.
        interval_s: How long the delay may exceed the target in a burst.
    """

    __slots__ = ("_above_until", "_interval_s", "_target_s", "standing")

    def __init__(self, *, target_s: float, interval_s: float) -> None:
        self._target_s = target_s
        self._interval_s = interval_s
        self.standing = False
        # When the delay will have been above the target for an interval; None: it is below.
        self._above_until: float | None = None

    def observe(self, now: float, *, waited_s: float, backlog: int) -> bool:
        """Record the delay of a job that was taken, and the number left; return whether it is a standing queue."""
        if waited_s < self._target_s or backlog <= BACKLOG_MIN:
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
