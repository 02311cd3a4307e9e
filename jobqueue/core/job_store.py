"""The job store: all records, live or terminal, and the bounds on them.

Rules:

1. At most `jobs_max` records, `bytes_max` bytes of their content (`Job.size_bytes`), and `failed_max` failed ones.
2. A live record is never evicted. A terminal one is evicted when its TTL is over, or earlier
   at a bound: then in the order of their ends.
3. No operation takes time in proportion to the number of records held.

Records lie on pages in the order of their ids, so that no single table
grows (and pauses) with their number, and a listing can resume at any id. Terminal
ones are also in expiry buckets, one for each quarter second and TTL, so that most
are evicted by the bucket. Their order of eviction is exact to that quarter second.

The garbage collector must have nothing to traverse here, or it would stop the loop for a million records at a time. It
skips records (structs without gc) and dicts of them; lists of them it would traverse again and again.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from jobqueue.core.deadlines import Deadlines
from jobqueue.core.ids import ID_PAGE_PREFIX_LENGTH, ID_PAGE_SIZE
from jobqueue.core.job import FAILED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from jobqueue.core.job import Job, JobId
    from jobqueue.core.store_bounds import StoreBounds

EXPIRY_BUCKET_S: Final = 0.25
_SPARSE: Final = ID_PAGE_SIZE // 8
_INSTANTS_MAX: Final = 4096

BUCKET_JOBS_MAX: Final = 1000
"""Jobs of one expiry bucket: as many as one tick evicts. More jobs of the same quarter second and TTL get another."""

Label = tuple[int, float, int]
"""Of an expiry bucket: the number of the quarter second in which its jobs ended, their TTL in seconds, and a number for
each bucket of the same two."""


class ExpiryBucket:
    """Terminal records that are evicted together.

    Attributes:
        over_at: When its quarter second is over.
        plain: All its jobs are without extras, and so not failed; then their results have `result_bytes` together.
    """

    __slots__ = ("jobs", "label", "over_at", "plain", "result_bytes")

    def __init__(self, label: Label) -> None:
        self.label = label
        self.over_at = (label[0] + 1) * EXPIRY_BUCKET_S
        self.jobs: dict[JobId, Job] = {}
        self.plain = True
        self.result_bytes = 0


class JobStore:
    def __init__(self, bounds: StoreBounds) -> None:
        self._bounds = bounds
        self._id_pages: dict[str, dict[JobId, Job]] = {}
        self._expiry_buckets: OrderedDict[Label, ExpiryBucket] = OrderedDict()
        # By TTL: the bucket that is being filled.
        self._filling: dict[float, ExpiryBucket] = {}
        self._label_number_max = 0
        self._due: Deadlines[Label] = Deadlines()
        # Jobs of one bucket that may have to be evicted early, the first one last.
        self._leaving: list[Job] = []
        self._leaving_from: Label | None = None
        # The float objects of the latest instants, each by its value. As objects: compiled code makes new numbers.
        self._instants: dict[Any, Any] = {}
        self._failed: OrderedDict[JobId, Job] = OrderedDict()
        self.live = 0
        self.terminal = 0
        self.live_bytes = 0
        self.bytes_used = 0

    def __len__(self) -> int:
        return self.live + self.terminal

    def get(self, job_id: str) -> Job | None:
        id_page = self._id_pages.get(job_id[:ID_PAGE_PREFIX_LENGTH])
        return None if id_page is None else id_page.get(job_id)  # type: ignore[call-overload] # asking by any text is the point

    def add(self, job: Job) -> None:
        """Add a new, live record. The caller has ensured by `has_room_for` and `next_out` that it fits."""
        prefix = job.id[:ID_PAGE_PREFIX_LENGTH]
        id_page = self._id_pages.get(prefix)
        if id_page is None:
            id_page = self._id_pages[prefix] = {}
        id_page[job.id] = job
        size_bytes = len(job.args) if job.extras is None else job.size_bytes
        self.live += 1
        self.live_bytes += size_bytes
        self.bytes_used += size_bytes

    def has_room_for(self, size_bytes: int, replaced: Job | None = None) -> bool:
        """Whether a live record of that size fits, after evicting terminal ones if necessary.

        Args:
            replaced: A live job that would be terminal by then.
        """
        live, live_bytes = self.live, self.live_bytes + size_bytes
        if replaced is not None:
            live -= 1
            live_bytes -= replaced.size_bytes
        return live < self._bounds.jobs_max and live_bytes <= self._bounds.bytes_max

    def has_room_for_row(self, jobs: int, size_bytes: int) -> bool:
        """Whether this number of live records, of that size together, fits: as `has_room_for` for each."""
        return self.live + jobs <= self._bounds.jobs_max and self.live_bytes + size_bytes <= self._bounds.bytes_max

    def has_room_to_grow(self, more_bytes: int) -> bool:
        """Whether a live record may grow by `more_bytes`, after evicting terminal ones if necessary."""
        return self.live_bytes + more_bytes <= self._bounds.bytes_max

    def has_room_for_result(self, job: Job, size_bytes: int) -> bool:
        """Whether a live job's result fits in place of its arguments, after evicting terminal ones if necessary."""
        return self.live_bytes - len(job.args) + size_bytes <= self._bounds.bytes_max

    def next_out(self, *, more_jobs: int, more_bytes: int) -> Job | None:
        """Return the next terminal record to evict to make this room; None once there is room."""
        fits_jobs = self.live + self.terminal + more_jobs <= self._bounds.jobs_max
        fits_bytes = self.bytes_used + more_bytes <= self._bounds.bytes_max
        if fits_jobs and fits_bytes:
            return None
        return self._first_ended()

    def next_failed_out(self) -> Job | None:
        """Return the next failed record to evict while there are more than `failed_max`; None once there are not."""
        return next(iter(self._failed.values())) if len(self._failed) > self._bounds.failed_max else None

    def grow(self, more_bytes: int) -> None:
        """Count the growth of a live record; negative if it shrank."""
        self.live_bytes += more_bytes
        self.bytes_used += more_bytes

    def finish(self, job: Job) -> None:
        """File a record that has just become terminal; its result counts from here on.

        Its arguments are dropped, but a failed job keeps them for a retry.
        """
        now, ttl_s = job.finished_at, self.ttl_s(job)
        assert now is not None, "a record is filed under the instant at which it ended"
        args_bytes = len(job.args)
        result_bytes = 0 if job.result is None else len(job.result)
        self.live -= 1
        self.terminal += 1
        self.live_bytes -= args_bytes if job.extras is None else job.size_bytes - result_bytes
        self.bytes_used += result_bytes
        if job.state is FAILED:
            self._failed[job.id] = job
        else:
            self.bytes_used -= args_bytes
            job.args = b""
        # Records of one instant share its float object: uvloop's clock has milliseconds, so that saves most of them.
        share = self._instants.setdefault
        finished_at: Any = job.finished_at
        job.finished_at = share(finished_at, finished_at)
        started_at: Any = job.started_at
        if started_at is not None:
            job.started_at = share(started_at, started_at)
        created_at: Any = job.created_at
        job.created_at = created_at = share(created_at, created_at)
        if job.run_at == created_at:
            job.run_at = created_at
        bucket = self._filling.get(ttl_s)
        if bucket is None or now >= bucket.over_at or len(bucket.jobs) >= BUCKET_JOBS_MAX:
            bucket = self._next_expiry_bucket(now, ttl_s)
        bucket.jobs[job.id] = job
        if job.extras is None:
            bucket.result_bytes += result_bytes
        else:
            bucket.plain = False

    def ttl_s(self, job: Job) -> float:
        """Return how long the record of a terminal job is kept."""
        if job.spec.ttl_s is not None:
            return job.spec.ttl_s
        return self._bounds.failed_ttl_s if job.state is FAILED else self._bounds.ttl_s

    def drop(self, job: Job) -> None:
        """Remove a terminal record."""
        self._take_out(job)
        self.terminal -= 1
        self.bytes_used -= job.size_bytes
        self._failed.pop(job.id, None)
        prefix = job.id[:ID_PAGE_PREFIX_LENGTH]
        id_page = self._id_pages[prefix]
        del id_page[job.id]
        self._shrink(prefix, len(id_page) + 1)

    def revive(self, job: Job) -> None:
        """Make a failed record a live one again; the caller has ensured by `has_room_for` that it fits."""
        self._take_out(job)
        self._failed.pop(job.id, None)
        self.terminal -= 1
        self.live += 1
        self.live_bytes += job.size_bytes

    def next_eviction_at(self) -> float | None:
        """Return when the next TTL is over."""
        return self._due.next_at()

    def evict_due(self, now: float, *, limit: int) -> list[Job]:
        """Remove and return up to `limit` expired records; fewer if the next bucket would exceed it."""
        gone: list[Job] = []
        while (at := self._due.next_at()) is not None and at <= now:
            bucket = self._expiry_buckets[self._due.first()]
            jobs = bucket.jobs
            if len(jobs) > limit - len(gone):
                if gone:
                    break
                jobs = dict(jobs.popitem() for _ in range(limit))
                bucket.result_bytes -= self._remove(jobs, None)
            else:
                self._take_away(bucket)
                self._remove(jobs, bucket.result_bytes if bucket.plain else None)
            gone += jobs.values()
        return gone

    def newest_first(self, after: JobId | None) -> Iterator[Job]:
        """Iterate over the records by falling id, from the one below `after`. Valid only until the store changes."""
        prefix_max = after[:ID_PAGE_PREFIX_LENGTH] if after is not None else None
        for prefix, id_page in reversed(self._id_pages.items()):
            if prefix_max is not None and prefix > prefix_max:
                continue
            for job_id, job in reversed(id_page.items()):
                if after is None or job_id < after:
                    yield job

    def _next_expiry_bucket(self, now: float, ttl_s: float) -> ExpiryBucket:
        if len(self._instants) > _INSTANTS_MAX:
            self._instants.clear()
        quarter, number = math.floor(now / EXPIRY_BUCKET_S), 0
        while (quarter, ttl_s, number) in self._expiry_buckets:
            number += 1
        self._label_number_max = max(self._label_number_max, number)
        bucket = ExpiryBucket((quarter, ttl_s, number))
        self._expiry_buckets[bucket.label] = self._filling[ttl_s] = bucket
        # Counted from the bucket's last instant, so that none of its jobs is evicted early.
        self._due.set(bucket.label, bucket.over_at + ttl_s)
        return bucket

    def _take_away(self, bucket: ExpiryBucket) -> None:
        del self._expiry_buckets[bucket.label]
        self._due.discard(bucket.label)
        if self._filling.get(bucket.label[1]) is bucket:
            del self._filling[bucket.label[1]]
        if bucket.label == self._leaving_from:  # it would hold all its records until the next early eviction
            self._leaving.clear()

    def _first_ended(self) -> Job | None:
        while self._leaving:
            job = self._leaving[-1]
            assert self._leaving_from is not None
            bucket = self._expiry_buckets.get(self._leaving_from)
            if bucket is not None and job.id in bucket.jobs:
                return job
            self._leaving.pop()  # removed since, or retried
        for label, bucket in self._expiry_buckets.items():
            # All at once, because a dict that loses its first entries is searched past all of them each time.
            self._leaving, self._leaving_from = list(reversed(bucket.jobs.values())), label
            return self._leaving[-1]
        return None

    def _take_out(self, job: Job) -> None:
        """Remove a terminal record from its bucket."""
        assert job.finished_at is not None
        quarter, ttl_s = math.floor(job.finished_at / EXPIRY_BUCKET_S), self.ttl_s(job)
        for number in range(self._label_number_max + 1):
            bucket = self._expiry_buckets.get((quarter, ttl_s, number))
            if bucket is not None and bucket.jobs.pop(job.id, None) is not None:
                bucket.result_bytes -= 0 if job.result is None else len(job.result)
                if not bucket.jobs:
                    self._take_away(bucket)
                return
        raise AssertionError("a terminal record is in a bucket")

    def _remove(self, jobs: dict[JobId, Job], size_bytes: int | None) -> int:
        """Remove records, which are in no bucket any more, from their pages and the counts; return their size.

        Args:
            size_bytes: Their size, if they are plain.
        """
        if size_bytes is None:
            size_bytes = 0
            for job in jobs.values():
                if job.extras is None and (result := job.result) is not None:
                    size_bytes += len(result)  # it succeeded, so its arguments were dropped
                else:
                    size_bytes += job.size_bytes
                    self._failed.pop(job.id, None)
        self.terminal -= len(jobs)
        self.bytes_used -= size_bytes
        # Jobs that ended together are mostly on one page.
        prefix = next(iter(jobs))[:ID_PAGE_PREFIX_LENGTH]
        if self._remove_from_page(prefix, jobs) < len(jobs):
            by_page: dict[str, list[JobId]] = {}
            for job_id in jobs:
                by_page.setdefault(job_id[:ID_PAGE_PREFIX_LENGTH], []).append(job_id)
            del by_page[prefix]
            for prefix, job_ids in by_page.items():
                self._remove_from_page(prefix, job_ids)
        return size_bytes

    def _remove_from_page(self, prefix: str, job_ids: Collection[JobId]) -> int:
        """Remove those of these records that are on a page; return how many were."""
        id_page = self._id_pages[prefix]
        count = len(id_page)
        # In C: the interpreter's steps would cost as much as all else of an eviction. An id is its own default.
        deque(map(id_page.pop, job_ids, job_ids), maxlen=0)
        self._shrink(prefix, count)
        return count - len(id_page)

    def _shrink(self, prefix: str, count: int) -> None:
        """Release the memory of a page that had `count` records before some were removed."""
        id_page = self._id_pages[prefix]
        if not id_page:
            del self._id_pages[prefix]
        elif count > _SPARSE >= len(id_page):
            # A dict keeps its size: without this, one long-lived
            # record in 4,096 would keep the whole table.
            self._id_pages[prefix] = dict(id_page)
