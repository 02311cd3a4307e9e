"""Lists of jobs in the store: pages, counts, groups of failures, the jobs of a bulk action.

Rules:

1. The store looks at a bounded number of records in each call (`SCAN`), and a list is a loop of such calls here. So no
   call holds up the store for long, and other calls come in between.
2. Jobs are in the order in which the store accepted them, from all servers: each has a place. Ids have no order.
3. Conditions that the store can't check (arguments, messages, groups of failures) are checked here, as are all others
   once more.
4. A page and a count end after `LOOKED_MAX` records or `LOOKED_S_MAX` seconds; a page goes on at its cursor. A bulk
   action goes on to the end.
5. A cursor is the place of a record, with the direction. That of a job that no page has shown names the job, and is
   good while the record is held, in lists of its owner or of all: another caller would learn that there is the job.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobqueue.api_limits import SAMPLE_MAX
from jobqueue.backend.base import BulkCount, Count, InvalidCursor, Page
from jobqueue.backend.searches import Turns
from jobqueue.backend.valkey.layout import place_of
from jobqueue.backend.valkey.records import LETTERS, record_of
from jobqueue.core.failure_groups import FailureGroups
from jobqueue.core.job import DELAYED, FAILED
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.job_view import view_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from jobqueue.backend.base import BulkAction
    from jobqueue.backend.valkey.calls import Calls
    from jobqueue.backend.valkey.clock import StoreClock
    from jobqueue.backend.valkey.records import Records, Told
    from jobqueue.core.failure_groups import Failures
    from jobqueue.core.job import JobId
    from jobqueue.core.job_view import JobView
    from jobqueue.errors import JobQueueError

    Act = Callable[[BulkAction, Sequence[JobId]], Awaitable[Sequence[JobQueueError | None]]]

SCAN: Final = 500
"""Records that a call looks at."""

WHOLE_AT_ONCE: Final = 64
"""Records with their arguments and results that a call returns."""

LOOKED_MAX: Final = 5000
LOOKED_S_MAX: Final = 2.0

ONLY_STATE: Final = {"retry": FAILED, "run_now": DELAYED}
"""Actions that apply to jobs in one state alone."""

ACT_AT_ONCE: Final = 64

PLACES_KEPT: Final = 10_000
"""Jobs of the latest pages whose places are known."""

_CURSOR: Final = re.compile(r"([on])([pj])([0-9A-Za-z_-]{1,40})")


class _Walk:
    """One pass over the records that match, in the order of their places.

    Attributes:
        cursor: Where the next call begins; "": at the first record.
        over: No record is left.
        looked: Records that the store has looked at.
        unsearched: Those of which the filter could not tell whether they match.
    """

    def __init__(self, lists: Lists, job_filter: JobFilter, *, cursor: str, oldest_first: bool, whole: bool) -> None:
        self._lists = lists
        self._filter = job_filter
        self._oldest_first = oldest_first
        self._whole = whole or bool(job_filter.args)
        self.cursor = cursor
        self.over = False
        self.looked = self.unsearched = 0

    async def next(self, most: int, scan: int = SCAN) -> list[tuple[int, JobView]]:
        """Return the next jobs that match, with their places: a portion, which may be empty."""
        limit = min(most, WHOLE_AT_ONCE if self._whole else SCAN)
        reply = await self._lists.ask(self._filter, self.cursor, self._oldest_first, limit, scan, self._whole)
        self.cursor, looked = reply[1].decode(), reply[2]
        self.looked += looked
        self.over = not self.cursor
        found = []
        for job_id, record in zip(reply[3::2], reply[4::2], strict=True):
            view = self._lists.view(job_id.decode(), record)
            matches = self._filter.matches(view)
            if matches:
                found.append((place_of(record_of(record)), view))
            elif matches is None:
                self.unsearched += 1
        return found


class Lists:
    """Lists of the jobs in a store.

    Args:
        act: Does an action of a bulk on some jobs; returns for each None, or why it was not done.
    """

    def __init__(self, calls: Calls, clock: StoreClock, records: Records, act: Act) -> None:
        self._calls = calls
        self._clock = clock
        self._records = records
        self._act = act
        self._places: dict[str, int] = {}
        self._turns = Turns()

    async def page(self, job_filter: JobFilter, *, limit: int, cursor: str | None, oldest_first: bool = False) -> Page:
        """Search for a page, as `Backend.page`."""
        start = await self._start(cursor, oldest_first, job_filter.owner)
        walk = _Walk(self, job_filter, cursor=start, oldest_first=oldest_first, whole=True)
        jobs: list[JobView] = []
        gives_up_at = self._clock.now() + LOOKED_S_MAX
        while True:
            for place, view in await walk.next(limit - len(jobs), min(SCAN, LOOKED_MAX - walk.looked)):
                self._note_place(view.id, place)
                jobs.append(view)
            if walk.over or len(jobs) == limit or self._gives_up(walk, gives_up_at):
                break
        return Page(jobs, _cursor("p", walk.cursor, oldest_first) if walk.cursor else None, walk.unsearched)

    async def count(self, job_filter: JobFilter) -> Count:
        """Count the jobs that match, as `Backend.count`."""
        if job_filter == JobFilter():
            _, totals, *_ = await self._calls.call("counts", ())
            return Count(dict(zip(totals[::2], totals[1::2], strict=True))[b"records"], True)
        walk, count = _Walk(self, job_filter, cursor="", oldest_first=False, whole=False), 0
        gives_up_at = self._clock.now() + LOOKED_S_MAX
        while True:
            count += len(await walk.next(SCAN))
            if walk.over or self._gives_up(walk, gives_up_at):
                return Count(count, walk.over)

    async def failures(self, job_filter: JobFilter) -> Failures:
        """Search for groups of failed jobs, as `Backend.failures`."""
        if job_filter.state not in (None, FAILED):
            return FailureGroups(now=self._clock.now(), since=self._clock.now()).found(True)
        failed = msgspec.structs.replace(job_filter, state=FAILED)
        walk = _Walk(self, failed, cursor="", oldest_first=False, whole=False)
        jobs: list[JobView] = []
        gives_up_at = self._clock.now() + LOOKED_S_MAX
        while not walk.over and not self._gives_up(walk, gives_up_at):
            jobs += [view for _, view in await walk.next(SCAN)]
        jobs.sort(key=lambda job: -(job.finished_at or 0.0))
        now = self._clock.now()
        since = min((job.finished_at for job in jobs if job.finished_at is not None), default=now)
        groups = FailureGroups(now=now, since=max(since, job_filter.created_from or since))
        for job in jobs:
            groups.add(job)
        return groups.found(walk.over)

    async def bulk(
        self,
        action: BulkAction,
        job_filter: JobFilter,
        *,
        limit: int | None = None,
        oldest_first: bool = False,
        dry_run: bool = False,
    ) -> BulkCount:
        """Search for the jobs of a bulk action, and act on each, as `Backend.bulk`."""
        last = await self._newest_place()
        if action in ONLY_STATE and job_filter.state is None:
            job_filter = msgspec.structs.replace(job_filter, state=ONLY_STATE[action])
        walk = _Walk(self, job_filter, cursor="", oldest_first=oldest_first, whole=False)
        done = _Done(limit)
        while not walk.over and not done.is_full:
            ids: list[JobId] = []
            for place, job in await walk.next(done.left):
                if place > last:  # it came after this began
                    walk.over = walk.over or oldest_first
                elif _applies(action, job):
                    ids.append(job.id)
            if dry_run:
                done.note_dry(ids)
            elif ids:
                done.note(await self._act(action, ids))
            await self._turns.next()  # others act in between
        return BulkCount(done.count, done.skipped, walk.unsearched, tuple(done.sample), done.skipped_by)

    def cursor_after(self, job: JobView, oldest_first: bool = False) -> str:
        """Return the cursor of a page that begins after this job, as `Backend.cursor_after`."""
        place = self._places.get(job.id)
        return _cursor("j", job.id, oldest_first) if place is None else _cursor("p", str(place), oldest_first)

    # -- the store

    async def ask(
        self, job_filter: JobFilter, cursor: str, oldest_first: bool, limit: int, scan: int, whole: bool
    ) -> list[Any]:
        """Return what the store finds from a cursor on: the time, the next cursor, the number looked at, records."""
        since, before = job_filter.created_from, job_filter.created_before
        reply = await self._calls.call(
            "page",
            (
                b"" if job_filter.state is None else LETTERS[job_filter.state],
                job_filter.queue or "",
                job_filter.type or "",
                job_filter.group or "",
                job_filter.owner or "",
                "" if job_filter.error is None else job_filter.error.value,
                job_filter.id_prefix or "",
                # A millisecond more, since both are checked here once more.
                -1 if since is None else max(0, self._clock.ms(since) - 1),
                -1 if before is None else max(0, self._clock.ms(before) + 1),
                cursor,
                int(oldest_first),
                limit,
                scan,
                int(whole),
            ),
        )
        self._clock.hear(reply[0])
        return reply

    def view(self, job_id: str, told: Told) -> JobView:
        """Return a record that the store has told."""
        return view_of(self._records.job(job_id, told))

    async def _newest_place(self) -> int:
        reply = await self.ask(JobFilter(), "", False, 1, 1, False)
        return place_of(record_of(reply[4])) if len(reply) > 3 else 0

    async def _start(self, cursor: str | None, oldest_first: bool, owner: str | None) -> str:
        """Return the place at which a cursor begins. Raises InvalidCursor."""
        if cursor is None:
            return ""
        match = _CURSOR.fullmatch(cursor)
        if match is None or (match[1] == "o") is not oldest_first:
            raise InvalidCursor(cursor)
        if match[2] == "p":
            if not match[3].isdecimal():
                raise InvalidCursor(cursor)
            return match[3]
        (record,) = (await self._calls.call("look", (0, match[3])))[1:2]
        if record is None or (owner is not None and self.view(match[3], record).owner != owner):
            raise InvalidCursor(cursor)
        return str(place_of(record_of(record)))

    def _note_place(self, job_id: str, place: int) -> None:
        self._places.pop(job_id, None)
        if len(self._places) >= PLACES_KEPT:
            del self._places[next(iter(self._places))]
        self._places[job_id] = place

    def _gives_up(self, walk: _Walk, at: float) -> bool:
        return walk.looked >= LOOKED_MAX or self._clock.now() >= at


class _Done:
    """What a bulk action has done so far."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.count = self.skipped = 0
        self.sample: list[JobId] = []
        self.skipped_by: dict[type[JobQueueError], int] = {}

    @property
    def left(self) -> int:
        """Jobs that may be changed yet, of one portion."""
        return ACT_AT_ONCE if self._limit is None else min(ACT_AT_ONCE, self._limit - self.count)

    @property
    def is_full(self) -> bool:
        return self.left <= 0

    def note_dry(self, ids: Sequence[JobId]) -> None:
        """Count jobs that would be tried."""
        self.count += len(ids)
        self.sample += ids[: SAMPLE_MAX - len(self.sample)]

    def note(self, outcomes: Sequence[JobQueueError | None]) -> None:
        """Count jobs that were changed, and those that were not."""
        for error in outcomes:
            if error is None:
                self.count += 1
            else:
                self.skipped += 1
                self.skipped_by[type(error)] = self.skipped_by.get(type(error), 0) + 1


def _cursor(kind: str, text: str, oldest_first: bool) -> str:
    return f"{'o' if oldest_first else 'n'}{kind}{text}"


def _applies(action: BulkAction, job: JobView) -> bool:
    """Whether the action applies to the job's state."""
    if action in ONLY_STATE:
        return job.state is ONLY_STATE[action]
    return job.live is (action == "cancel")
