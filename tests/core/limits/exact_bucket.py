"""A token bucket by its definition: tokens arrive at a steady rate, up to a bound. Slow, and never rounded."""

from __future__ import annotations

import math
from fractions import Fraction

from jobqueue.core.limits.token_bucket import TICKS_PER_S
from jobqueue.core.rate import Rate


class ExactBucket:
    """A full bucket at `now`. Time counts in whole ticks, as the real one's does."""

    def __init__(self, rate: Rate, now: float) -> None:
        self.burst = Fraction(rate.burst_max)
        self.per_tick = Fraction(rate.count) / round(Fraction(rate.period_s) * TICKS_PER_S)
        self.tokens = self.burst
        self.seen_at = tick_of(now)

    def fill(self, now: float) -> Fraction:
        """Add the tokens that have arrived by now; return the number of tokens."""
        self.tokens = min(self.burst, self.tokens + (tick_of(now) - self.seen_at) * self.per_tick)
        self.seen_at = tick_of(now)
        return self.tokens

    def take(self, now: float) -> bool:
        if self.fill(now) < 1:
            return False
        self.tokens -= 1
        return True


def tick_of(now: float) -> int:
    return math.floor(Fraction(now) * TICKS_PER_S)
