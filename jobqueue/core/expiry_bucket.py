"""An expiry bucket: terminal records of one quarter second and TTL, which are evicted together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jobqueue.core.holdings import Holding
    from jobqueue.core.job import Job, JobId

EXPIRY_BUCKET_S: Final = 0.25

Label = tuple[int, float, int]
"""Of an expiry bucket: the number of the quarter second in which its jobs ended, their TTL in seconds, and a number for
each bucket of the same two."""


class ExpiryBucket:
    """Terminal records that are evicted together.

    Attributes:
        number: Its number, in the order in which buckets are begun.
        over_at: When its quarter second is over.
        holding: The one that all its jobs are part of; None: they are of several.
        by_caller: The jobs of each caller, the oldest last; some may be gone since. None: they are not sorted.
        table_size: The number of jobs that the table `jobs` has room for.
        any_failed: Whether a failed record was ever among them.
        size_bytes: Of all its records together.
    """

    __slots__ = (
        *("any_failed", "by_caller", "holding", "jobs", "label", "number", "over_at", "size_bytes", "table_size"),
    )

    def __init__(self, label: Label, number: int) -> None:
        self.label = label
        self.number = number
        self.holding: Holding | None = None
        self.by_caller: dict[str | None, list[Job]] | None = None
        self.table_size = 0
        self.over_at = (label[0] + 1) * EXPIRY_BUCKET_S
        self.jobs: dict[JobId, Job] = {}
        self.any_failed = False
        self.size_bytes = 0
