"""Figures of the calls to the store: how many there were, how long they took, what went wrong."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from jobqueue.core.histogram import BOUNDS_S, BUCKETS

LATEST_MAX = 1024


class CallFigures:
    """Totals since the start.

    Attributes:
        address: Where the store is, without a password.
        durability: What an answered call survives, as configured.
        server: Its product and version, such as `Valkey 9.1.0`; empty: there was no connection yet.
        calls: Calls that were answered, by function.
        counts: The same by the time from the call to its answer, in the buckets of `histogram.BOUNDS_S`.
        sum_s: The sum of these times.
        errors: What went wrong, by kind: `timeout`, `connection`, `unconfirmed`, `refused`, `unanswered`, or the first
            word of an error reply in small letters, such as `oom`.
        reconnects: The number of connections after the first one.
    """

    def __init__(self, address: str = "", durability: str = "async") -> None:
        self.address = address
        self.durability = durability
        self.server = ""
        self.calls: dict[str, int] = {}
        self.counts = [0] * BUCKETS
        self.sum_s = 0.0
        self.errors: dict[str, int] = {}
        self.reconnects = 0
        self._latest: deque[float] = deque(maxlen=LATEST_MAX)

    def add(self, function: str, duration_s: float) -> None:
        """Count a call that was answered."""
        self.calls[function] = self.calls.get(function, 0) + 1
        self.counts[bisect_left(BOUNDS_S, duration_s)] += 1
        self.sum_s += duration_s
        self._latest.append(duration_s)

    def fail(self, kind: str) -> None:
        """Count what went wrong."""
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def p50_s(self) -> float | None:
        """Return the median time of the latest calls; None: there was none."""
        return sorted(self._latest)[len(self._latest) // 2] if self._latest else None
