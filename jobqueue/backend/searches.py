"""Searches of records: pages, counts, groups of failures, the jobs of a bulk action, in slices between other tasks.

Rules:

1. In an iteration of the loop one slice is read, of `search_slice` units of work (`JobFilter.cost`), however many
   searches there are: they take turns. So searches delay each other, and another request by one slice.
2. A search reads its first, smaller slice at once: a list of which the first records match takes no turn.
3. The search for a page, and a count, end after `search_max` units or `search_s_max` seconds, with what they have
   found. A page goes on at its cursor. Each search reads one slice at least, so that cursors advance.
4. Of failures only failed jobs are read, the newest `FAILURES_MAX`; for an owner its own ones.
5. Between two slices records come and go; a search goes on by the order of ids. Records that come after its first
   slice are not met by one that goes towards the oldest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from jobqueue.api_limits import SAMPLE_MAX
from jobqueue.backend.base import BulkCount, Count, InvalidCursor, Page
from jobqueue.core.failure_groups import FailureGroups
from jobqueue.core.ids import ID_LENGTH, cursor_at, is_cursor
from jobqueue.core.job import DELAYED, FAILED
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.job_view import view_of
from jobqueue.errors import JobGone, JobNotFound, JobQueueError, Refused, WrongState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from jobqueue.backend.base import BulkAction
    from jobqueue.core.engine import Engine
    from jobqueue.core.failure_groups import Failures
    from jobqueue.core.job import Job, JobId
    from jobqueue.core.job_view import JobView
    from jobqueue.core.tuning import Tuning

_LAST = "~"
"""Sorts after every character of an id."""

FAILURES_MAX = 50_000
"""Failed jobs that one search reads: their ids are noted at its begin, in a millisecond."""


class Turns:
    """Gives one of those that wait a turn in each iteration of the loop, in order."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._giving = False

    async def next(self) -> None:
        """Wait for a turn."""
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append(turn)
        if not self._giving:
            self._giving = True
            loop.call_soon(self._give, loop)
        await turn

    def _give(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else its task was cancelled
                turn.set_result(None)
                break
        if self._waiting:
            loop.call_soon(self._give, loop)
        else:
            self._giving = False


class Search:
    """One pass over the records, in the order of their ids.

    Args:
        after: Where it begins, beyond this text; None: at the first record.
        last: An id beyond which there is nothing to look for; None: there is no such one.

    Attributes:
        after: The id of the last record that was read.
        over: No record is left.
        unsearched: Records of which the filter could not tell whether they match.
        units: The work done.
    """

    def __init__(
        self, engine: Engine, job_filter: JobFilter, *, oldest_first: bool, after: str | None, last: str | None = None
    ) -> None:
        self._engine = engine
        self._filter = job_filter
        self._oldest_first = oldest_first
        self._last = last
        self.after = self._beginning(after)
        self.over = False
        self.unsearched = 0
        self.units = 0

    def read(self, units: int, jobs_max: int) -> list[Job]:
        """Return the matching jobs of a slice, up to `jobs_max`."""
        found: list[Job] = []
        job_filter, left = self._filter, units
        while left > 0 and not self.over:
            portion = self._engine.portion(self.after, oldest_first=self._oldest_first, limit=left)
            self.over = not portion
            for job in portion:
                if self._is_beyond(job):
                    self.over = True
                    break
                self.after = job.id
                cost = job_filter.cost(job)
                left -= cost
                self.units += cost
                matches = job_filter.matches(job)
                if matches:
                    found.append(job)
                elif matches is None:
                    self.unsearched += 1
                if left <= 0 or len(found) >= jobs_max:
                    return found
        return found

    def has_more(self) -> bool:
        """Whether a record is left that may match."""
        if self.over:
            return False
        portion = self._engine.portion(self.after, oldest_first=self._oldest_first, limit=1)
        return bool(portion) and not self._is_beyond(portion[0])

    def _beginning(self, after: str | None) -> str | None:
        """Return the latest beginning: `after`, and those of the ids that the filter's prefix and parent allow."""
        prefix, parent = self._filter.id_prefix, self._filter.parent
        if self._oldest_first and parent is not None and (after is None or after < parent):
            after = parent
        if not prefix:
            return after
        if self._oldest_first:
            first = prefix[:-1] + (chr(ord(prefix[-1]) - 1) + _LAST * ID_LENGTH)
            return first if after is None else max(first, after)
        first = prefix + _LAST * ID_LENGTH
        return first if after is None else min(first, after)

    def _is_beyond(self, job: Job) -> bool:
        """Whether neither this record nor any later one can match: ids have the order of submissions."""
        job_filter, prefix = self._filter, self._filter.id_prefix
        if self._oldest_first:
            until = job_filter.created_before
            is_late = until is not None and job.created_at >= until
            is_last = self._last is not None and job.id > self._last
            return is_late or is_last or (prefix is not None and job.id[: len(prefix)] > prefix)
        since, parent = job_filter.created_from, job_filter.parent
        return (
            (since is not None and job.created_at < since)
            or (prefix is not None and job.id < prefix)
            or (parent is not None and job.id <= parent)
        )


class Searches:
    """All searches of one backend.

    Args:
        now: The backend's clock.
        tuning: Returns the bounds of a step's work.

    Attributes:
        turns: Those of searches, and of other work on all jobs.
    """

    def __init__(self, engine: Engine, *, now: Callable[[], float], tuning: Tuning) -> None:
        self._engine = engine
        self._now = now
        self._tuning = tuning
        self.turns = Turns()

    async def page(self, job_filter: JobFilter, limit: int, cursor: str | None, oldest_first: bool) -> Page:
        """Search for a page, as `Backend.page`."""
        if cursor is not None and not is_cursor(cursor, oldest_first):
            raise InvalidCursor(cursor)
        search = Search(self._engine, job_filter, oldest_first=oldest_first, after=cursor)
        jobs: list[JobView] = []
        gives_up_at, units = self._now() + self._tuning.search_s_max, self._tuning.search_first
        while True:
            jobs += map(view_of, search.read(units, limit - len(jobs)))
            if search.over or len(jobs) == limit or self._gives_up(search.units, gives_up_at):
                break
            units = await self._next_slice()
        last = search.after
        more = last is not None and search.has_more()
        return Page(jobs, cursor_at(last, oldest_first) if last is not None and more else None, search.unsearched)

    async def count(self, job_filter: JobFilter) -> Count:
        """Count the jobs that match, as `Backend.count`."""
        if job_filter == JobFilter():
            return Count(len(self._engine.store), True)
        search, count = Search(self._engine, job_filter, oldest_first=False, after=None), 0
        gives_up_at, units = self._now() + self._tuning.search_s_max, self._tuning.search_first
        while True:
            count += len(search.read(units, units))
            if search.over or self._gives_up(search.units, gives_up_at):
                return Count(count, not search.has_more())
            units = await self._next_slice()

    async def bulk(
        self,
        action: BulkAction,
        act: Callable[[JobId], Awaitable[object]] | None,
        job_filter: JobFilter,
        *,
        limit: int | None,
        oldest_first: bool,
    ) -> BulkCount:
        """Search for the jobs of a bulk action, and act on each.

        Args:
            act: Changes a job; None: they are counted.
        """
        newest = self._engine.portion(None, oldest_first=False, limit=1)
        last = newest[0].id if newest else ""
        search = Search(self._engine, job_filter, oldest_first=oldest_first, after=None, last=last)
        count = skipped = 0
        sample: list[JobId] = []
        skipped_by: dict[type[JobQueueError], int] = {}
        left, units, portion = limit, self._tuning.search_first, self._tuning.bulk_portion
        while True:
            for job in search.read(units, portion if left is None else min(portion, left)):
                if not _applies(action, job):
                    continue
                if act is None:
                    count += 1
                    sample += [job.id] if len(sample) < SAMPLE_MAX else []
                    continue
                try:
                    await act(job.id)
                    count += 1
                except (WrongState, Refused, JobNotFound, JobGone) as error:
                    skipped += 1
                    skipped_by[type(error)] = skipped_by.get(type(error), 0) + 1
            left = None if limit is None else limit - count
            if search.over or left == 0:
                return BulkCount(count, skipped, search.unsearched, tuple(sample), skipped_by)
            units = await self._next_slice()

    async def failures(self, job_filter: JobFilter) -> Failures:
        """Search for groups of failed jobs, as `Backend.failures`."""
        now, find = self._now(), self._engine.find
        ids, complete = self._newest_failed(job_filter.owner)
        oldest = find(ids[-1]) if ids else None
        since = now if oldest is None or oldest.finished_at is None else oldest.finished_at
        groups = FailureGroups(now=now, since=max(since, job_filter.created_from or since))
        gives_up_at, left, units = now + self._tuning.search_s_max, self._tuning.search_first, 0
        for read, job_id in enumerate(ids, 1):
            job = find(job_id)
            if job is None or job.state is not FAILED:  # deleted or retried meanwhile
                continue
            cost = job_filter.cost(job)
            if job_filter.matches(job):
                cost += groups.cost(job)
                groups.add(job)
            units += cost
            left -= cost
            if left <= 0 and read < len(ids):
                if self._gives_up(units, gives_up_at):
                    return groups.found(False)
                left = await self._next_slice()
        return groups.found(complete)

    def _newest_failed(self, owner: str | None) -> tuple[list[JobId], bool]:
        """Return the ids of the jobs that failed last, newest first, and whether these are all."""
        store = self._engine.store
        holding = None if owner is None else store.holdings.by_caller.get(owner)
        failed: dict[JobId, Any] = store.failed if owner is None else (holding and holding.failed) or {}
        # As a plain dict, which has the same order here: OrderedDict's own iterator takes a hundred times as long.
        newest_first: Iterator[JobId] = dict.__reversed__(failed)
        return list(islice(newest_first, FAILURES_MAX)), len(failed) <= FAILURES_MAX

    def _gives_up(self, units: int, at: float) -> bool:
        return units >= self._tuning.search_max or self._now() >= at

    async def _next_slice(self) -> int:
        """Wait for a turn; return the units of work of a slice."""
        await self.turns.next()
        return self._tuning.search_slice


def _applies(action: BulkAction, job: Job) -> bool:
    """Whether the action applies to the job's state."""
    match action:
        case "retry":
            return job.state is FAILED
        case "cancel":
            return job.live
        case "delete":
            return not job.live
        case "run_now":
            return job.state is DELAYED
