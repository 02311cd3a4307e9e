"""Lists of jobs in a real store: pages, counts, failures, bulk actions, and what their cursors are good for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.base import BulkAction, BulkCount, Count, InvalidCursor
from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.lists import ACT_AT_ONCE, LOOKED_MAX, Lists
from jobqueue.backend.valkey.records import Records
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import JobId, JobSpec, JobState, Uniqueness
from jobqueue.core.job_filter import ArgFilter, JobFilter
from jobqueue.core.quotas import Quotas
from jobqueue.core.report import ErrorCode
from jobqueue.errors import JobGone, JobQueueError, QueueFull, WrongState
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job_view import JobView
    from tests.backend.valkey.process_calls import Connect


SPEC = JobSpec(type="t")


class World:
    """Some jobs in a store, and lists of them."""

    def __init__(self, connect: Connect) -> None:
        self.calls = connect()
        self.clock = StoreClock(asyncio.get_running_loop().time)
        self.records = Records(self.clock, lambda spec: spec)
        self.lists = Lists(self.calls, self.clock, self.records, self.act)
        self.acted: list[int] = []
        self.refuse: dict[str, JobQueueError] = {}
        self._ids = IdIssuer(secret=b"0123456789abcdef", run=RUNS[1])
        for name in ("default", "other"):
            self.call("set_queue", name, "", 0, b"blob", 100_000, 1000, 1, "fifo", -1, 0)
        self.call("join", "p", 10**9, "one", b"s" * 32, "", 0)

    def call(self, function: str, *args: bytes | str | int) -> list[object]:
        reply = self.calls.call(function, args).result()
        self.clock.hear(reply[0])
        return reply

    def submit(
        self, count: int = 1, spec: JobSpec = SPEC, args: bytes = b"{}", owner: str | None = None
    ) -> list[JobId]:
        uniqueness = None if owner is None else Uniqueness(owner, owner=owner, plain=True)
        ids = [self._ids.issue() for _ in range(count)]
        for first in range(0, count, 64):
            part = ids[first : first + 64]
            blob, claims = self.records.spec_blob(spec), self.records.claims_blob(uniqueness, None, Quotas())
            items = [field for job_id in part for field in (job_id, 500, blob, args, claims)]
            self.call("submit", spec.queue, 0, len(part), *items)
        return ids

    def fail(self, message: str, spec: JobSpec = SPEC) -> JobId:
        """Submit a job that fails; no other may be ready."""
        (job_id,) = self.submit(1, spec)
        lease = self.call("lease", "p", 0, 1, 1, "", 1, spec.queue)
        assert lease[4] == job_id.encode()
        self.call("nack", "p", 1, job_id, 1, ErrorCode.HANDLER_ERROR.value, message, "", 0, 1, 0)
        return job_id

    async def act(self, action: BulkAction, ids: Sequence[JobId]) -> Sequence[JobQueueError | None]:
        self.acted.append(len(ids))
        outcomes: list[JobQueueError | None] = []
        for job_id in ids:
            if job_id in self.refuse:
                outcomes.append(self.refuse[job_id])
                continue
            self.call(action, "", 1, job_id)
            outcomes.append(None)
        return outcomes

    async def ids(self, job_filter: JobFilter, limit: int, *, oldest_first: bool = False) -> list[str]:
        """Return the ids of all pages."""
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await self.lists.page(job_filter, limit=limit, cursor=cursor, oldest_first=oldest_first)
            assert len(page.jobs) <= limit
            found += [job.id for job in page.jobs]
            if page.cursor is None:
                return found
            assert len(page.cursor) <= 64
            cursor = page.cursor


@pytest.mark.parametrize("oldest_first", [False, True])
@virtual_time
async def test_pages_have_all_jobs_that_match_once_in_order(connect: Connect, oldest_first: bool) -> None:
    world = World(connect)
    ids = []
    for n in range(200):
        ids += world.submit(1, JobSpec(type="odd" if n % 2 else "even", queue="other" if n % 5 else "default"))
        if n % 3 == 0:
            await asyncio.sleep(0.001)
    order = ids if oldest_first else ids[::-1]
    assert await world.ids(JobFilter(), 7, oldest_first=oldest_first) == order
    odd = [job_id for job_id in order if ids.index(job_id) % 2]
    assert await world.ids(JobFilter(type="odd"), 9, oldest_first=oldest_first) == odd
    assert len(await world.ids(JobFilter(type="odd", queue="default"), 9, oldest_first=oldest_first)) == 20


@virtual_time
async def test_a_page_that_ends_at_the_last_record_has_no_cursor(connect: Connect) -> None:
    world = World(connect)
    assert (await world.lists.page(JobFilter(), limit=5, cursor=None)).cursor is None
    world.submit(5)
    assert (await world.lists.page(JobFilter(), limit=5, cursor=None)).cursor is None
    assert (await world.lists.page(JobFilter(), limit=4, cursor=None)).cursor is not None


@virtual_time
async def test_a_page_ends_after_some_thousand_records_and_goes_on_at_its_cursor(connect: Connect) -> None:
    world = World(connect)
    (rare,) = world.submit(1, JobSpec(type="rare"))
    world.submit(LOOKED_MAX + 500)
    first = await world.lists.page(JobFilter(type="rare"), limit=5, cursor=None)
    assert first.jobs == []
    assert first.cursor is not None
    second = await world.lists.page(JobFilter(type="rare"), limit=5, cursor=first.cursor)
    assert [job.id for job in second.jobs] == [rare]
    assert second.cursor is None
    assert await world.lists.count(JobFilter(type="rare")) == Count(0, False)
    assert await world.lists.count(JobFilter(type="t")) == Count(LOOKED_MAX, False)
    assert await world.lists.count(JobFilter()) == Count(LOOKED_MAX + 501, True)


@virtual_time
async def test_conditions_on_instants_ids_states_groups_and_owners_hold(connect: Connect) -> None:
    world = World(connect)
    (early,) = world.submit(1)
    await asyncio.sleep(1)
    (grouped,) = world.submit(1, JobSpec(type="t", group="g", own=True))
    await asyncio.sleep(1)
    (owned,) = world.submit(1, owner="key:ann")
    jobs = (await world.lists.page(JobFilter(), limit=9, cursor=None)).jobs
    middle = jobs[1].created_at
    for job_filter, expected in (
        (JobFilter(created_from=middle), [owned, grouped]),
        (JobFilter(created_before=middle), [early]),
        (JobFilter(created_from=middle + 0.0005), [owned]),
        (JobFilter(group="g"), [grouped]),
        (JobFilter(owner="key:ann"), [owned]),
        (JobFilter(owner="key:bob"), []),
        (JobFilter(id_prefix=early[:18]), [early]),
        (JobFilter(state=JobState.QUEUED), [owned, grouped, early]),
        (JobFilter(state=JobState.RUNNING), []),
    ):
        assert await world.ids(job_filter, 9) == expected, job_filter
        assert await world.ids(job_filter, 9, oldest_first=True) == expected[::-1], job_filter


@virtual_time
async def test_arguments_and_messages_are_searched_in_this_process(connect: Connect) -> None:
    world = World(connect)
    for n in range(100):
        world.submit(1, args=b'{"n":%d}' % n)
    found = await world.lists.page(JobFilter(args=(ArgFilter(("n",), (41, 77)),)), limit=9, cursor=None)
    assert [job.args for job in found.jobs] == [b'{"n":77}', b'{"n":41}']
    long = world.submit(1, args=b'{"n":"%s"}' % (b"x" * 70_000))
    page = await world.lists.page(JobFilter(args=(ArgFilter(("n",), (41,)),)), limit=9, cursor=None)
    assert (len(page.jobs), page.unsearched) == (1, len(long))


@virtual_time
async def test_whole_records_of_many_megabytes_come_in_pieces(connect: Connect) -> None:
    world = World(connect)
    ids = []
    for n in range(30):
        ids += world.submit(1, args=b'{"n":%d,"x":"%s"}' % (n, b"x" * 200_000))
    page = await world.lists.page(JobFilter(), limit=30, cursor=None)
    assert [job.id for job in page.jobs] == ids[::-1]
    assert all(len(job.args) > 200_000 for job in page.jobs)


# -- cursors


@pytest.mark.parametrize("cursor", ["", "x", "np", "npx", "np1.5", "op12", "nj", "np" + "9" * 60, "no such thing"])
@virtual_time
async def test_a_text_that_is_no_cursor_of_this_order_is_rejected(connect: Connect, cursor: str) -> None:
    world = World(connect)
    with pytest.raises(InvalidCursor) as rejected:
        await world.lists.page(JobFilter(), limit=1, cursor=cursor)
    assert str(rejected.value) == cursor


@virtual_time
async def test_a_page_begins_after_a_job_of_a_page_and_after_any_other_one_that_is_held(connect: Connect) -> None:
    world = World(connect)
    ids = world.submit(4)
    of_page: list[JobView] = (await world.lists.page(JobFilter(), limit=9, cursor=None)).jobs
    other = World(connect)
    for lists in (world.lists, other.lists):
        for oldest_first, expected in ((False, ids[1::-1]), (True, ids[3:])):
            cursor = lists.cursor_after(of_page[1], oldest_first)
            assert cursor not in ids
            page = await other.lists.page(JobFilter(), limit=9, cursor=cursor, oldest_first=oldest_first)
            assert [job.id for job in page.jobs] == expected
    world.call("cancel", "", 1, ids[2])
    world.call("delete", "", 1, ids[2])
    page = await other.lists.page(JobFilter(), limit=9, cursor=world.lists.cursor_after(of_page[1]))
    assert [job.id for job in page.jobs] == ids[1::-1]
    with pytest.raises(InvalidCursor):
        await other.lists.page(JobFilter(), limit=9, cursor=World(connect).lists.cursor_after(of_page[1]))


@virtual_time
async def test_the_job_of_another_owner_is_no_cursor(connect: Connect) -> None:
    world = World(connect)
    older, (job_id,) = world.submit(2, owner="ann"), world.submit(owner="ann")
    for owner in ("ann", None):
        page = await world.lists.page(JobFilter(owner=owner), limit=9, cursor=f"nj{job_id}")
        assert [job.id for job in page.jobs] == older[::-1]
    for cursor in (f"nj{job_id}", f"nj{world._ids.issue()}"):
        with pytest.raises(InvalidCursor):
            await world.lists.page(JobFilter(owner="bob"), limit=9, cursor=cursor)


# -- failures


@virtual_time
async def test_failures_are_grouped_newest_first(connect: Connect) -> None:
    world = World(connect)
    for message in ("user 1 is gone", "user 2 is gone", "no mail"):
        world.fail(message)
        await asyncio.sleep(1)
    world.submit(700)
    await asyncio.sleep(100)
    found = await world.lists.failures(JobFilter())
    assert [(group.message, group.count) for group in found.groups] == [("no mail", 1), ("user # is gone", 2)]
    assert (found.complete, found.step_s) == (True, 5)
    assert [sum(group.counts) for group in found.groups] == [1, 2]
    assert sum(found.groups[1].counts[:10]) == 2, "of the 30 buckets of 5 seconds, the earlier ones"
    of_users = JobFilter(failure=found.groups[1].id)
    assert await world.ids(of_users, 9) == found.groups[1].sample
    assert await world.ids(JobFilter(message="mail"), 9) == found.groups[0].sample
    assert await world.ids(JobFilter(error=ErrorCode.REJECTED), 9) == []
    assert (await world.lists.failures(JobFilter(type="other"))).groups == []
    assert (await world.lists.failures(JobFilter(state=JobState.QUEUED))).groups == []


# -- bulk actions


@pytest.mark.parametrize("oldest_first", [False, True])
@virtual_time
async def test_a_bulk_action_acts_in_portions_on_the_jobs_that_were_there(connect: Connect, oldest_first: bool) -> None:
    world = World(connect)
    ids = world.submit(150)
    order = ids if oldest_first else ids[::-1]

    async def bulk(**more: int | bool | None) -> BulkCount:
        return await world.lists.bulk("cancel", JobFilter(), oldest_first=oldest_first, **more)  # type: ignore[arg-type]  # by name

    dry = await bulk(dry_run=True)
    assert (dry.count, dry.skipped, dry.sample) == (150, 0, tuple(order[:20]))
    assert (await bulk(dry_run=True, limit=7)).sample == tuple(order[:7])
    assert world.acted == []
    running = asyncio.create_task(bulk(limit=70))
    await asyncio.sleep(0)
    late = world.submit(3)
    assert await running == BulkCount(70, 0)
    assert world.acted == [ACT_AT_ONCE, 70 - ACT_AT_ONCE]
    assert set(await world.ids(JobFilter(state=JobState.CANCELLED), 100)) == set(order[:70])
    assert set(late) <= set(await world.ids(JobFilter(state=JobState.QUEUED), 100))


@virtual_time
async def test_jobs_that_a_bulk_action_could_not_change_are_counted_by_the_error(connect: Connect) -> None:
    world = World(connect)
    failed = [world.fail("boom") for _ in range(4)]
    world.submit(2)
    world.refuse = {
        failed[0]: QueueFull("full", 1.0),
        failed[1]: WrongState("no", state="queued"),
        failed[3]: JobGone("x"),
    }
    done = await world.lists.bulk("retry", JobFilter())
    assert done == BulkCount(1, 3, skipped_by={QueueFull: 1, WrongState: 1, JobGone: 1})
    assert await world.lists.bulk("delete", JobFilter(), limit=0) == BulkCount(0, 0)
    assert (await world.lists.bulk("delete", JobFilter())).count == 0
    assert (await world.lists.bulk("cancel", JobFilter(state=JobState.RUNNING))).count == 0
