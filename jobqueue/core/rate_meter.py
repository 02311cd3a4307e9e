"""The rate meter: events per second, as an exponentially weighted average."""

from __future__ import annotations

from math import exp, expm1, inf, log
from typing import Final

HALF_LIFE_S: Final = 10.0


SLICES: Final = 1000


class RateMeter:
    """An average of events per second, in which an event counts half as much after each half-life.

    It is exact from the start: events are divided by the time since the start, not by an
    infinite past without events. Less than a tenth of a half-life counts as that tenth, since one event
    in the first millisecond is not a thousand per second. Nothing ticks; the decay is computed on reading.

    Events within a thousandth of a half-life count as simultaneous: so each of a burst costs an addition,
    and the rate is too low by 0.07 % at most.
    """

    __slots__ = ("_at", "_decay_per_s", "_half_life_s", "_since", "_slice_ends_at", "_slice_s", "_weight")

    def __init__(self, half_life_s: float = HALF_LIFE_S) -> None:
        self._half_life_s = half_life_s
        self._decay_per_s = log(2) / half_life_s
        self._slice_s = half_life_s / SLICES
        self._since: float | None = None
        self._at = 0.0
        self._slice_ends_at = -inf
        self._weight = 0.0  # sum of the events' weights at `_at`

    def begin(self, now: float) -> None:
        """Start measuring now, if not started; else the first event starts it, and counts as if it took no time."""
        if self._since is None:
            self._since = now

    def begin_with(self, other: RateMeter) -> None:
        """Start at the same instant as another meter, so that the sum of both is exact."""
        if self._since is None:
            self._since = other._since

    def add(self, now: float, count: int = 1) -> None:
        if now < self._slice_ends_at:
            self._weight += count
            return
        self.begin(now)
        self._weight = self._weight * exp(-self._decay_per_s * (now - self._at)) + count
        self._at = now
        self._slice_ends_at = now + self._slice_s

    def per_s(self, now: float) -> float:
        """Return the events per second as of `now`; 0 before the first."""
        if self._since is None:
            return 0.0
        looked_s = now - self._since
        if looked_s < self._half_life_s / 10:
            looked_s = self._half_life_s / 10
        decay_per_s = self._decay_per_s
        # The weight of one event a second since the start.
        full = -expm1(-decay_per_s * looked_s) / decay_per_s
        return self._weight * exp(-decay_per_s * (now - self._at)) / full
