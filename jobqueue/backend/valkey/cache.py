"""The cache of records that have ended: for a moment, they are read without asking the store.

Rules:

1. A record that has ended changes only by a retry, a deletion or its eviction. For `ttl_s` after it was read, or was
   ended by this process, it may be answered as it was, but not beyond a TTL of its own; what this process has changed
   otherwise is dropped at once.
2. At most `jobs_max` records of `bytes_max` bytes together are kept; the earliest read go first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView

JOBS_MAX: Final = 10_000
BYTES_MAX: Final = 16 * 1024 * 1024
RECORD_BYTES: Final = 1000
"""Bytes of a record beside its arguments and result, roughly."""


class EndedCache:
    """Records that have ended, by id.

    Args:
        ttl_s: How long a record is answered after it was read; 0: never.
        now: A clock, in seconds: that of the records.
    """

    def __init__(
        self, ttl_s: float, now: Callable[[], float], *, jobs_max: int = JOBS_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self._ttl_s = ttl_s
        self._now = now
        self._jobs_max, self._bytes_max = jobs_max, bytes_max
        # In the order in which they were read, and so of their times, but for those with a short TTL of their own.
        self._kept: dict[str, tuple[float, int, JobView]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, job_id: str) -> JobView | None:
        """Return a record that was read just now, if there is one."""
        kept = self._kept.get(job_id)
        if kept is None:
            return None
        if kept[0] <= self._now():
            self.drop(kept[2].id)
            return None
        return kept[2]

    def keep(self, job: JobView) -> None:
        """Keep a record that was just read and has ended."""
        if self._ttl_s <= 0:
            return
        kept, now = self._kept, self._now()
        until = now + self._ttl_s
        if job.spec.ttl_s is not None and job.finished_at is not None:
            until = min(until, job.finished_at + job.spec.ttl_s)
        if job.id in kept:
            self.drop(job.id)
        size = RECORD_BYTES + len(job.args) + (0 if job.result is None else len(job.result))
        kept[job.id] = (until, size, job)
        self._bytes += size
        while kept:
            first = next(iter(kept))
            if kept[first][0] > now and len(kept) <= self._jobs_max and self._bytes <= self._bytes_max:
                break
            self.drop(first)

    def drop(self, job_id: JobId | str) -> None:
        """Forget a record, if it is kept."""
        kept = self._kept.pop(job_id, None)
        if kept is not None:
            self._bytes -= kept[1]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self._bytes = 0
