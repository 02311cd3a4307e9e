"""Durations of commits: all since the start by fixed bounds, and the latest one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from jobqueue.core.histogram import BOUNDS_S, BUCKETS

LATEST_MAX = 1024
"""The commits of half a second under full load, of a minute at 50 ms."""


class CommitTimes:
    """How long commits took, from the first write to the end of the sync.

    Attributes:
        counts: Commits in each bucket of `histogram.BOUNDS_S` alone.
        sum_s: The sum of all durations.
        last_s: The latest duration; None: there was none.
    """

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum_s = 0.0
        self.last_s: float | None = None
        self._latest: deque[float] = deque(maxlen=LATEST_MAX)

    @property
    def total(self) -> int:
        """The number of commits."""
        return sum(self.counts)

    def add(self, duration_s: float) -> None:
        """Count a commit."""
        self.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s
        self.last_s = duration_s
        self._latest.append(duration_s)

    def p50_s(self) -> float | None:
        """Return the median of the latest commits."""
        return sorted(self._latest)[len(self._latest) // 2] if self._latest else None

    def max_s(self) -> float | None:
        """Return the longest of the latest commits."""
        return max(self._latest, default=None)
