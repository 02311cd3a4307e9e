"""The token bucket: a rate limiter.

The bucket is GCRA, the generic cell rate algorithm (ITU-T I.371, annex A): one instant
instead of a count of tokens and a refill. `now` is an argument; nothing here waits.

Rules:

1. A bucket holds `burst` tokens at most, and gets one every `period_s / count` seconds. So no window of
   `period_s` passes more than `burst + count`, and the long run passes exactly the rate. The burst is `count` unless
   the rate says otherwise: `10/s` lets ten start at once after a pause, `10/s burst 1` spaces them 100 ms apart.
2. Decisions are exact: time is counted in whole ticks of 2**-30 s, about a nanosecond, and multiplied rather than
   divided by `count`. No sum is ever rounded, so no rounding adds up. `now` counts from the tick it falls into.
3. Waits in seconds are rounded up, by at most a tick and a float's last place: a take after that wait isn't early.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jobqueue.core.rate import Rate


TICKS_PER_S: Final = 1 << 30


class TokenBucket:
    """Tokens for one rate, full at first. `now` is seconds on a clock that starts at 0 or later and never steps back.

    A full bucket equals a new one: it may be dropped, and created again.

    Raises:
        ValueError: The rate allows nothing, or is over no time.
    """

    __slots__ = ("_burst", "_full_at", "_period", "rate")

    def __init__(self, rate: Rate) -> None:
        period = round(rate.period_s * TICKS_PER_S)
        if rate.count < 1 or period < 1 or rate.burst_max < 1:
            raise ValueError(
                f"a bucket needs a rate and a burst of at least 1 in a time over 0 s, got {rate} over {rate.period_s} s"
            )
        self.rate = rate
        # In ticks times `count`, as every instant here; a token takes `_period` of these to come. `_full_at` is GCRA's
        # theoretical arrival time: at it the bucket is full, and as much earlier as tokens are lacking.
        self._period = period
        self._burst = rate.burst_max
        self._full_at = 0

    def take(self, now: float) -> bool:
        """Take a token; return False if there is none."""
        at = self._at(now)
        full_at = (at if at > self._full_at else self._full_at) + self._period
        if full_at - at > self._burst * self._period:
            return False
        self._full_at = full_at
        return True

    def put_back(self) -> None:
        """Put back the token that was taken last, if it was taken just now."""
        self._full_at -= self._period

    def remaining(self, now: float) -> int:
        """Return the number of tokens."""
        at = self._at(now)
        if at >= self._full_at:
            return self._burst
        return self._burst + (at - self._full_at) // self._period

    def is_full(self, now: float) -> bool:
        return self._at(now) >= self._full_at

    @property
    def full_at(self) -> float:
        """The instant from which on the bucket is full, if nothing more is taken."""
        return self._instant(self._full_at)

    def free_at(self) -> float:
        """Return the instant from which on a token can be taken."""
        return max(0.0, self._instant(self._full_at - (self._burst - 1) * self._period))

    def wait_s(self, now: float) -> float:
        """Return how long it takes until a token can be taken, 0.0 if one can be now.

        A take at `now + wait_s` succeeds: the sum of the two floats is not before `free_at`.
        """
        free_at = self.free_at()
        if free_at <= now:
            return 0.0
        wait_s = free_at - now
        # The difference of two floats is rounded; so is the sum that the caller makes of it.
        while now + wait_s < free_at:
            wait_s = math.nextafter(wait_s, math.inf)
        return wait_s

    def _at(self, now: float) -> int:
        return math.floor(now * TICKS_PER_S) * self.rate.count

    def _instant(self, at: int) -> float:
        """Return the first instant that lies in the tick of `at`, or after it."""
        tick = -(-at // self.rate.count)
        instant = tick / TICKS_PER_S
        # A float has 53 bits: ticks need more after some 97 days, and may have been rounded down.
        # Compared as integers: compiled code would round the tick, to compare it with a float.
        return instant if int(instant * TICKS_PER_S) >= tick else math.nextafter(instant, math.inf)
