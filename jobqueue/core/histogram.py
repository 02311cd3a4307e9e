"""Histogram: counts durations by fixed bounds, with the latest job of each bucket as its example."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from jobqueue.core.job import JobId

BOUNDS_S: Final[tuple[float, ...]] = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Upper bounds of the buckets, inclusive, in seconds; one more bucket has no bound. Of no fixed length for mypyc, which
finds a Final tuple of floats unset."""

BUCKETS: Final = 14

FIRST_BOUND_S: Final = 0.001
"""Compared first: on a server with free workers most waits, and many runs, are in the first bucket."""


@final
class Histogram:
    """Durations since start.

    Attributes:
        counts: Number of durations in each bucket alone, not in those below it.
        sum_s: Their sum.
        examples: The latest job of each bucket. Its record, which tells its duration, may be gone.
    """

    __slots__ = ("counts", "examples", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.sum_s = 0.0
        self.examples: list[JobId | None] = [None] * BUCKETS

    def add(self, duration_s: float, job_id: JobId) -> None:
        bucket = 0 if duration_s <= FIRST_BOUND_S else bisect_left(BOUNDS_S, duration_s)
        self.counts[bucket] += 1
        self.sum_s += duration_s
        self.examples[bucket] = job_id
