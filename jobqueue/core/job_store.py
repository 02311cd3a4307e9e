"""The job store: all records, live or terminal, and the bounds on them.

Rules:

1. At most `jobs_max` records, `bytes_max` bytes of their content (`Job.size_bytes`), and `failed_max` failed ones.
2. A live record is never evicted. A terminal one is evicted when its TTL is over, or earlier at a bound: then the
   oldest one of the caller with the largest holding (`holdings`), of the records, bytes or failed records that
   the bound is about. Of small callers the oldest one of all.
3. No operation takes time in proportion to the number of records held.

Records lie on pages in the order of their ids, so that no single table grows (and pauses) with their number, and a
listing can resume at any id. Terminal ones are also in expiry buckets, one for each quarter second and TTL, so that
most are evicted by the bucket. Their order of eviction is exact to that quarter second.

The garbage collector must have nothing to traverse here, or it would stop the loop for a million records at a time. It
skips records (structs without gc) and dicts of them; lists of them it would traverse again and again.
"""

from __future__ import annotations

import math
from array import array
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from jobqueue.core.deadlines import Deadlines
from jobqueue.core.expiry_bucket import EXPIRY_BUCKET_S, ExpiryBucket
from jobqueue.core.holdings import Holdings
from jobqueue.core.id_pages import newest_first, portion
from jobqueue.core.ids import ID_PAGE_PREFIX_LENGTH, ID_PAGE_SIZE
from jobqueue.core.job import FAILED, SUCCEEDED
from jobqueue.core.kept_records import KeptRecords
from jobqueue.core.quotas import Quotas

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from jobqueue.core.expiry_bucket import Label
    from jobqueue.core.holdings import Holding
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.store_bounds import StoreBounds

_SPARSE: Final = ID_PAGE_SIZE // 8
_SPARSE_BUCKET: Final = 8
_INSTANTS_MAX: Final = 4096

BUCKET_JOBS_MAX: Final = 1000
"""Jobs of one expiry bucket: as many as one tick evicts. More jobs of the same quarter second and TTL get another."""

SORTED_MAX: Final = 32
"""Buckets of which the records are held sorted by caller, for early evictions."""


class JobStore:
    def __init__(self, bounds: StoreBounds) -> None:
        self._bounds = bounds
        self._id_pages: dict[str, dict[JobId, Job]] = {}
        self._expiry_buckets: OrderedDict[Label, ExpiryBucket] = OrderedDict()
        # By TTL: the bucket that is being filled.
        self._filling: dict[float, ExpiryBucket] = {}
        self._label_number_max = 0
        self._by_number: dict[int, ExpiryBucket] = {}
        self._buckets_begun = 0
        # Those sorted by caller, the first one for longest.
        self._sorted: deque[ExpiryBucket] = deque()
        self.holdings = Holdings(jobs_max=bounds.jobs_max, bytes_max=bounds.bytes_max, failed_max=bounds.failed_max)
        self.quotas = Quotas()
        # Bound directly, for the two operations of every job.
        self._by_caller = self.holdings.by_caller
        self._all_live = self.holdings.all_live
        self._due: Deadlines[Label] = Deadlines()
        self._kept = KeptRecords()
        # Jobs of one bucket that may have to be evicted early, the first one last.
        self._leaving: list[Job] = []
        self._leaving_from: Label | None = None
        # The float objects of the latest instants, each by its value. As objects: compiled code makes new numbers.
        self._instants: dict[Any, Any] = {}
        self.failed: OrderedDict[JobId, Job] = OrderedDict()
        self.live = 0
        self.terminal = 0
        self.live_bytes = 0
        self.bytes_used = 0

    def __len__(self) -> int:
        return self.live + self.terminal

    def get(self, job_id: str) -> Job | None:
        id_page = self._id_pages.get(job_id[:ID_PAGE_PREFIX_LENGTH])
        return None if id_page is None else id_page.get(job_id)  # type: ignore[call-overload] # asking by any text is the point

    def add(self, job: Job, counted: bool = False) -> None:
        """Add a new, live record. The caller has ensured by `has_room_for` and `next_out` that it fits.

        Args:
            counted: Its caller's holding counts it already.
        """
        prefix = job.id[:ID_PAGE_PREFIX_LENGTH]
        id_page = self._id_pages.get(prefix)
        if id_page is None:
            id_page = self._id_pages[prefix] = {}
        id_page[job.id] = job
        extras = job.extras
        size_bytes = len(job.args) if extras is None else len(job.args) + extras.held_bytes
        self.live += 1
        self.live_bytes += size_bytes
        self.bytes_used += size_bytes
        if counted:
            return
        uniqueness = job.uniqueness
        caller = None if uniqueness is None else uniqueness.caller
        holding = self._by_caller.get(caller)
        if holding is None:
            holding = self.holdings.begin(caller)
        holding.records = records = holding.records + 1
        if records > holding.records_key:
            self.holdings.by_records.rank(holding)
        holding.size_bytes = held_bytes = holding.size_bytes + size_bytes
        if held_bytes > holding.bytes_key:
            self.holdings.by_bytes.rank(holding)

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

    def is_within_quota(self, job: Job, more_bytes: int) -> bool:
        """Whether its caller may have a live record grow, after evicting its own terminal ones if necessary."""
        if not self.quotas.any or (bytes_max := self.quotas.of(job.caller).bytes_max) is None:
            return True
        _, live_bytes = self.holdings.live_of(job.caller)
        return live_bytes + more_bytes <= bytes_max

    def has_room_for_result(self, job: Job, size_bytes: int) -> bool:
        """Whether a live job's result fits in place of its arguments, after evicting terminal ones if necessary."""
        more_bytes = size_bytes - len(job.args)
        if self.live_bytes + more_bytes > self._bounds.bytes_max:  # inline, as it runs for each job
            return False
        return not self.quotas.any or self.is_within_quota(job, more_bytes)

    def next_out(self, caller: str | None, *, more_jobs: int, more_bytes: int) -> Job | None:
        """Return the next terminal record to evict to make this room for a caller; None once there is room.

        A caller over its own quota loses records of its own.
        """
        if self.quotas.any and (own := self._next_out_of(caller, more_jobs, more_bytes)) is not None:
            return own
        bounds = self._bounds
        fits_jobs = self.live + self.terminal + more_jobs <= bounds.jobs_max
        fits_bytes = self.bytes_used + more_bytes <= bounds.bytes_max
        if fits_jobs and fits_bytes:
            return None
        largest = (self.holdings.by_records if fits_bytes else self.holdings.by_bytes).first()
        job = None if largest is None else self._first_ended_of(largest)
        return self._first_ended() if job is None else job

    def _next_out_of(self, caller: str | None, more_jobs: int, more_bytes: int) -> Job | None:
        """Return the next record to evict for a caller's own quota, if it has terminal ones."""
        holding, quota = self._by_caller.get(caller), self.quotas.of(caller)
        if holding is None or not holding.terminal:
            return None
        fits_records = quota.records_max is None or holding.records + more_jobs <= quota.records_max
        fits_bytes = quota.bytes_max is None or holding.size_bytes + more_bytes <= quota.bytes_max
        return None if fits_records and fits_bytes else self._first_ended_of(holding)

    def next_failed_out(self) -> Job | None:
        """Return the next failed record to evict while there are more than `failed_max`; None once there are not."""
        if len(self.failed) <= self._bounds.failed_max:
            return None
        largest = self.holdings.by_failed.first()
        failed = self.failed if largest is None or not largest.failed else largest.failed
        return self.failed[next(iter(failed))]

    def grow(self, job: Job, more_bytes: int) -> None:
        """Count the growth of a live record; negative if it shrank."""
        self.holdings.add(job.caller, 0, more_bytes)
        self.live_bytes += more_bytes
        self.bytes_used += more_bytes

    def finish(self, job: Job) -> None:
        """File a record that has just become terminal; its result counts from here on.

        Its arguments are dropped, unless it keeps them for a retry.
        """
        now, ttl_s, failed = job.finished_at, job.spec.ttl_s, job.state is FAILED
        assert now is not None, "a record is filed under the instant at which it ended"
        if ttl_s is None:
            ttl_s = self._bounds.ttl_s if job.state is SUCCEEDED else self.ttl_s(job)
        more_bytes = 0 if job.result is None else len(job.result)
        live_bytes, extras = len(job.args), job.extras
        if extras is not None:
            live_bytes += extras.held_bytes
        size_bytes = live_bytes + more_bytes
        self.live -= 1
        self.terminal += 1
        self.live_bytes -= live_bytes
        uniqueness = job.uniqueness
        holding = self._by_caller[None if uniqueness is None else uniqueness.caller]
        if failed:
            self.failed[job.id] = job
            self.holdings.note_failed(holding, job.id)
        elif extras is None or not job.keeps_args:
            size_bytes -= len(job.args)
            more_bytes -= len(job.args)
            job.args = b""
        self.bytes_used += more_bytes
        holding.terminal += 1
        holding.terminal_bytes += size_bytes
        holding.size_bytes = held_bytes = holding.size_bytes + more_bytes
        if held_bytes > holding.bytes_key:
            self.holdings.by_bytes.rank(holding)
        if self._all_live and holding.caller in self._all_live:
            self.holdings.note_terminal(holding)
        # Records of one instant share its float object: uvloop's clock has milliseconds, so that saves most of them.
        share = self._instants.setdefault
        finished_at: Any = now
        job.finished_at = finished_at = share(finished_at, finished_at)
        started_at: Any = job.started_at
        if started_at is not None:
            job.started_at = finished_at if started_at == finished_at else share(started_at, started_at)
        created_at: Any = job.created_at
        job.created_at = created_at = finished_at if created_at == finished_at else share(created_at, created_at)
        if job.run_at == created_at:
            job.run_at = created_at
        bucket = self._filling.get(ttl_s)
        if bucket is None or now >= bucket.over_at or len(bucket.jobs) >= BUCKET_JOBS_MAX:
            bucket = self._next_expiry_bucket(now, ttl_s)
        if holding.latest != bucket.number:
            self._enter(holding, bucket)
        if bucket.by_caller is not None:
            bucket.by_caller = None
        bucket.jobs[job.id] = job
        bucket.size_bytes += size_bytes
        if failed:
            bucket.any_failed = True

    def ttl_s(self, job: Job) -> float:
        """Return how long the record of a terminal job is kept."""
        if job.spec.ttl_s is not None:
            return job.spec.ttl_s
        return self._bounds.ttl_s if job.state is SUCCEEDED or not job.keeps_args else self._bounds.failed_ttl_s

    def drop(self, job: Job) -> None:
        """Remove a terminal record."""
        self._take_out(job)
        size_bytes = job.size_bytes
        self.terminal -= 1
        self.bytes_used -= size_bytes
        if job.state is FAILED:
            self._forget_failed(job)
        uniqueness = job.uniqueness
        self.holdings.remove(self._by_caller[None if uniqueness is None else uniqueness.caller], 1, size_bytes)
        prefix = job.id[:ID_PAGE_PREFIX_LENGTH]
        id_page = self._id_pages[prefix]
        del id_page[job.id]
        self._shrink(prefix, len(id_page) + 1)

    def revive(self, job: Job) -> None:
        """Make a failed record a live one again; the caller has ensured by `has_room_for` that it fits."""
        self._take_out(job)
        self._forget_failed(job)
        self.terminal -= 1
        self.live += 1
        size_bytes = job.size_bytes
        self.live_bytes += size_bytes
        self.holdings.revive(job, size_bytes)

    def next_eviction_at(self) -> float | None:
        """Return when the next TTL is over."""
        at = self._due.next_at()
        kept_at = self._kept.next_at() if self._kept.jobs else None
        return at if kept_at is None or (at is not None and at < kept_at) else kept_at

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
                bucket.size_bytes -= self._remove(jobs, None, bucket.holding)
            else:
                self._take_away(bucket)
                self._remove(jobs, None if bucket.any_failed else bucket.size_bytes, bucket.holding)
            gone += jobs.values()
        if self._kept.jobs and (due := self._kept.take_due(now, limit - len(gone))):
            self._remove(due, None, None)
            gone += due.values()
        return gone

    def newest_first(self, after: JobId | None) -> Iterator[Job]:
        """As `id_pages.newest_first`."""
        return newest_first(self._id_pages, after)

    def portion(self, after: str | None, *, oldest_first: bool, limit: int) -> list[Job]:
        """As `id_pages.portion`."""
        return portion(self._id_pages, after, oldest_first=oldest_first, limit=limit)

    def keep(self, job: Job) -> None:
        """Keep a terminal record whatever its TTL, since a child needs it."""
        if job.id not in self._kept.jobs:
            self._take_out(job)
        self._kept.keep(job)

    def let_go(self, job: Job) -> None:
        """Keep a record no longer than its TTL says: no child needs it any more."""
        assert job.finished_at is not None, "only a terminal record is kept"
        self._kept.let_go(job, job.finished_at + self.ttl_s(job))

    def _next_expiry_bucket(self, now: float, ttl_s: float) -> ExpiryBucket:
        if len(self._instants) > _INSTANTS_MAX:
            self._instants.clear()
        quarter, number = math.floor(now / EXPIRY_BUCKET_S), 0
        while (quarter, ttl_s, number) in self._expiry_buckets:
            number += 1
        self._label_number_max = max(self._label_number_max, number)
        self._buckets_begun += 1
        bucket = ExpiryBucket((quarter, ttl_s, number), self._buckets_begun)
        self._by_number[bucket.number] = bucket
        self._expiry_buckets[bucket.label] = self._filling[ttl_s] = bucket
        # Counted from the bucket's last instant, so that none of its jobs is evicted early.
        self._due.set(bucket.label, bucket.over_at + ttl_s)
        return bucket

    def _take_away(self, bucket: ExpiryBucket) -> None:
        del self._expiry_buckets[bucket.label]
        del self._by_number[bucket.number]
        bucket.jobs, bucket.by_caller = {}, None  # it may be among those that are sorted
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
        return self._kept.first()

    def _enter(self, holding: Holding, bucket: ExpiryBucket) -> None:
        """Note that a caller's terminal records are in one more bucket, which gets the next one."""
        if bucket.holding is not holding:
            bucket.holding = None if bucket.jobs else holding
        before, holding.latest = holding.latest, bucket.number
        buckets = holding.buckets
        if buckets is None:
            holding.passed = 0
            if not before:
                return
            buckets = holding.buckets = array("q", (before,))
        buckets.append(bucket.number)
        if len(buckets) > holding.pruned_at:
            there = [number for number in dict.fromkeys(buckets[holding.passed :]) if number in self._by_number]
            holding.buckets, holding.passed, holding.pruned_at = array("q", there), 0, 2 * len(there) + 2

    def _first_ended_of(self, holding: Holding) -> Job | None:
        """Return the oldest terminal record of a caller; None: it has none."""
        while True:
            buckets = holding.buckets
            passed = holding.passed
            number = holding.latest if buckets is None else buckets[passed] if passed < len(buckets) else 0
            if not number:
                return self._kept.first_of(holding.caller)
            bucket = self._by_number.get(number)
            if bucket is not None:
                jobs = self._sorted_by_caller(bucket).get(holding.caller)
                while jobs:
                    if jobs[-1].id in bucket.jobs:
                        return jobs[-1]
                    jobs.pop()
            holding.passed += 1
            if holding.latest == number:  # so that its next record there is noted
                holding.latest = 0

    def _sorted_by_caller(self, bucket: ExpiryBucket) -> dict[str | None, list[Job]]:
        """Return the jobs of a bucket by caller, the oldest last."""
        if bucket.by_caller is not None:
            return bucket.by_caller
        by_caller: dict[str | None, list[Job]] = {}
        for job in reversed(bucket.jobs.values()):
            caller = self.holdings.of(job).caller
            jobs = by_caller.get(caller)
            if jobs is None:
                by_caller[caller] = [job]
            else:
                jobs.append(job)
        bucket.by_caller = by_caller
        self._sorted.append(bucket)
        if len(self._sorted) > SORTED_MAX:
            self._sorted.popleft().by_caller = None
        return by_caller

    def _take_out(self, job: Job) -> None:
        """Remove a terminal record from its bucket, or from those that are kept."""
        if self._kept.jobs and job.id in self._kept.jobs:
            self._kept.discard(job)
            return
        assert job.finished_at is not None
        quarter, ttl_s = math.floor(job.finished_at / EXPIRY_BUCKET_S), self.ttl_s(job)
        for number in range(self._label_number_max + 1):
            bucket = self._expiry_buckets.get((quarter, ttl_s, number))
            if bucket is not None and bucket.jobs.pop(job.id, None) is not None:
                bucket.size_bytes -= job.size_bytes
                count = len(bucket.jobs)
                if not count:
                    self._take_away(bucket)
                elif bucket.table_size > _SPARSE_BUCKET * count:
                    # One caller's records may have gone from among the others'.
                    bucket.jobs, bucket.table_size = dict(bucket.jobs), count
                elif bucket.table_size <= count:
                    bucket.table_size = count + 1
                return
        raise AssertionError("a terminal record is in a bucket")

    def _forget_failed(self, job: Job) -> None:
        if self.failed.pop(job.id, None) is not None:
            self.holdings.forget_failed(job)

    def _remove(self, jobs: dict[JobId, Job], size_bytes: int | None, holding: Holding | None) -> int:
        """Remove records, which are in no bucket any more, from their pages and the counts; return their size.

        Args:
            size_bytes: Their size, if it is known and none has failed.
            holding: The one that all are part of; None: they are of several.
        """
        if size_bytes is None or holding is None:
            size_bytes = 0
            holdings = self.holdings
            for job in jobs.values():
                if job.extras is None and (result := job.result) is not None:
                    job_bytes = len(result)  # it succeeded, so its arguments were dropped
                else:
                    job_bytes = job.size_bytes
                    if job.state is FAILED:
                        self._forget_failed(job)
                size_bytes += job_bytes
                if holding is None:
                    holdings.remove(holdings.of(job), 1, job_bytes)
        if holding is not None:
            self.holdings.remove(holding, len(jobs), size_bytes)
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
            if len(self._instants) > 3 * len(self):  # no record has more
                self._instants.clear()
        elif count > _SPARSE >= len(id_page):
            # A dict keeps its size: without this, one long-lived record in 4,096 would keep the whole table.
            self._id_pages[prefix] = dict(id_page)
