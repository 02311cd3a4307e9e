"""The conformance suite of the Backend port. Another backend runs it by a line in `backends.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import pytest

from jobqueue.backend.base import Backend, BulkCount, Count, InvalidCursor
from jobqueue.core.caller_holdings import CallerHolding
from jobqueue.core.counting.stats import QueueStats
from jobqueue.core.events import Ended, Started, Submitted
from jobqueue.core.job import IdempotencyKey, JobId, JobSpec, JobState, Lease, Unique, Uniqueness
from jobqueue.core.job_filter import JobFilter
from jobqueue.core.job_view import JobView
from jobqueue.core.lineage import Lineage, Link
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.rate import Rate
from jobqueue.core.report import ErrorCode, Failure, JobError, Progress, Success
from jobqueue.core.scheduling.eta import FOR_PARENTS, Estimate
from jobqueue.core.stored_file import Upload
from jobqueue.core.submit import SubmitReceipt
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import (
    Draining,
    Duplicate,
    JobGone,
    JobNotFound,
    KeyReused,
    NotInStore,
    QueueFull,
    RateLimited,
    StaleLease,
    WrongState,
)
from jobqueue.testing import virtual_time
from tests.contract.backends import CAPACITY, Make

SPEC = JobSpec(type="t")
SMALL = JobSpec(type="t", queue="small")
BOOM = Failure(ErrorCode.HANDLER_ERROR, "boom")
Wait = Callable[[Backend, JobId], Coroutine[Any, Any, None]]


async def submit(backend: Backend, spec: JobSpec = SPEC, **options: Any) -> JobView:
    return (await backend.submit(spec, **options)).job


async def submit_failed(backend: Backend, spec: JobSpec = SPEC, **options: Any) -> JobView:
    """Submit a job and fail its last attempt; no other job may be ready."""
    job = await submit(backend, spec, **options)
    lease = await backend.lease()
    assert lease.job_id == job.id
    await backend.nack(job.id, lease.attempt, BOOM)
    return job


async def lease_one(backend: Backend) -> Lease:
    """Lease a job as a worker with a suspending handler does."""
    lease = await backend.lease()
    backend.pass_on()
    return lease


async def states(backend: Backend, *jobs: JobView) -> list[str]:
    """Return the current states of these jobs."""
    return [(await backend.get(job.id)).state for job in jobs]


async def estimate_of(backend: Backend, job: JobView) -> Estimate:
    """Return the estimate of a job as it is now."""
    await backend.refresh()
    return backend.estimate(await backend.get(job.id))


def stats_of(backend: Backend, name: str = "default") -> QueueStats:
    (stats,) = [queue for queue in backend.stats()[1] if queue.name == name]
    return stats


class Workers:
    """Records the calls of a backend."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.calls: list[int] = []
        self.stopped: list[tuple[JobId, int]] = []
        self.abandoned: list[tuple[JobId, int]] = []

    def reinforce(self, jobs: int) -> None:
        self.calls.append(jobs)
        self.called.set()

    def free(self) -> int:
        return 10

    def stop(self, job_id: JobId, attempt: int) -> None:
        self.stopped.append((job_id, attempt))

    def abandon(self, job_id: JobId, attempt: int) -> None:
        self.abandoned.append((job_id, attempt))


async def settle() -> None:
    """Let every task run until it waits: the virtual clock advances only when no callback is ready."""
    await asyncio.sleep(1)


async def one_turn() -> None:
    """Let every task take one step."""
    await asyncio.sleep(0)


def seen(*jobs: JobView) -> dict[JobId, int]:
    """Return the versions of these records by their ids."""
    return {job.id: job.version for job in jobs}


async def wait_for_end(backend: Backend, job_id: JobId) -> None:
    await backend.wait(job_id)


async def wait_for_change(backend: Backend, job_id: JobId) -> None:
    await backend.wait_for_change(seen(await backend.get(job_id)))


@virtual_time
async def test_a_submitted_job_is_readable_immediately(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    assert (await backend.get(job.id)).state is JobState.QUEUED


@virtual_time
async def test_many_jobs_are_submitted_in_order_each_on_its_own(make: Make) -> None:
    backend = make(small=QueuePolicy(capacity=3))
    unique = Uniqueness("ann", unique=Unique("u", "reject"))
    callers = (None, unique, unique, Uniqueness("ann", plain=True), None)
    first, second, duplicate, third, rejected = await backend.submit_many([(SMALL, b"{}", None, u) for u in callers])
    assert isinstance(first, SubmitReceipt)
    assert isinstance(second, SubmitReceipt)
    assert isinstance(third, SubmitReceipt)
    assert isinstance(duplicate, Duplicate)
    assert isinstance(rejected, QueueFull)
    assert duplicate.job_id == second.id
    for receipt in (first, second, third):
        assert (receipt.live, receipt.duplicate) == (True, False)
        assert (await backend.get(receipt.id)).live
        assert (await backend.lease()).job_id == receipt.id


@virtual_time
async def test_several_jobs_are_accepted_together_or_not_at_all(make: Make) -> None:
    backend = make(small=QueuePolicy(capacity=3))
    key = Uniqueness("ann", key=IdempotencyKey("k", b"f"))
    try:
        first, second = await backend.submit_together([(SMALL, b"1", None, key), (SPEC, b"2", None, None)])
    except NotInStore:
        assert backend.shared, "only a store has none of it"
        return
    assert [(await backend.get(each.job.id)).args for each in (first, second)] == [b"1", b"2"]
    before = backend.stats()[0]
    with pytest.raises(QueueFull):
        await backend.submit_together([(SPEC, b"3", None, None), *[(SMALL, b"{}", None, None)] * 3])
    assert backend.stats()[0] == before
    again, third = await backend.submit_together([(SMALL, b"1", None, key), (SMALL, b"4", None, None)])
    assert (again.job.id, again.duplicate, third.duplicate) == (first.job.id, True, False)


@virtual_time
async def test_a_job_waits_for_its_parents_and_a_flow_for_its_jobs(make: Make) -> None:
    backend = make()
    asked = (SPEC, b"{}", None, None)
    if backend.shared:
        for operation in (backend.flow, backend.cancel_flow, backend.retry_flow):
            with pytest.raises(NotInStore):
                await operation("an id")
        with pytest.raises(NotInStore):
            await backend.flows(limit=10)
        for submit in (backend.submit_flow, backend.submit_together):
            with pytest.raises(NotInStore):
                await submit([asked], [Link()])
        return
    await backend.start(Workers())
    flow = (await backend.submit_flow([asked] * 2, [Link(name="a"), Link(beside=(0,), name="b")])).flow
    parent, child = [await backend.get(job.id) for job in flow.jobs]
    assert child.lineage == Lineage((parent.id,), "cancel", flow.id, "b")
    assert backend.estimate(child).waiting_for == FOR_PARENTS
    (other,) = await backend.submit_together([asked], [Link((parent.id,), on_failure="run")])
    lease = await backend.lease()
    await backend.nack(lease.job_id, lease.attempt, BOOM)
    ended = await backend.wait(child.id)
    assert ended.error == JobError(ErrorCode.PARENT_FAILED, f"the parent 'a' ({parent.id}) failed")
    assert (await backend.flow(flow.id)).state == "failed"
    assert (await backend.lease()).job_id == other.job.id
    assert (await backend.retry_flow(flow.id)).counts == {JobState.WAITING: 1, JobState.QUEUED: 1}
    assert (await backend.cancel_flow(flow.id)).state == "cancelled"
    with pytest.raises(JobNotFound):
        await backend.flow("nothing")


@virtual_time
async def test_flows_are_listed_by_pages_with_cursors(make: Make) -> None:
    backend = make()
    if backend.shared:
        pytest.skip("a store has no flows")
    await backend.start(Workers())
    mine = Uniqueness("ann", owner="ann")
    ids = [(await backend.submit_flow([(SPEC, b"{}", None, mine)] * 2, [None] * 2)).flow.id for _ in range(3)]
    other = (await backend.submit_flow([(SPEC, b"{}", None, None)], [None])).flow.id
    await backend.cancel_flow(ids[1])
    page = await backend.flows(limit=3)
    assert [(flow.id, flow.live, flow.state) for flow in page.flows] == [
        (other, 1, "running"),
        (ids[2], 2, "running"),
        (ids[1], 0, "cancelled"),
    ]
    rest = await backend.flows(limit=3, cursor=page.cursor)
    assert ([flow.id for flow in rest.flows], rest.cursor) == (ids[:1], None)
    own = await backend.flows("running", owner="ann", limit=3)
    assert ([flow.id for flow in own.flows], own.cursor) == ([ids[2], ids[0]], None)
    assert (await backend.flows(owner="bob", limit=3)).flows == []
    part = await backend.flow(ids[0], limit=1)
    (last,) = (await backend.flow(ids[0], cursor=part.cursor, limit=1)).jobs
    assert last == (await backend.flow(ids[0])).jobs[1]
    assert part.cursor is not None
    for ask in (backend.flows(limit=1, cursor=part.cursor), backend.flow(ids[0], cursor=page.cursor)):
        with pytest.raises(InvalidCursor):
            await ask


@virtual_time
async def test_a_wait_for_a_child_ends_although_its_flow_is_retried_at_once(make: Make) -> None:
    backend = make()
    if backend.shared:
        pytest.skip("a store has no flows")
    asked = (SPEC, b"{}", None, None)
    flow = (await backend.submit_flow([asked] * 2, [Link(), Link(beside=(0,))])).flow
    parent, child = flow.jobs
    lease = await backend.lease()
    ending = backend.ending(child.id)
    await backend.nack(parent.id, lease.attempt, BOOM)
    assert (await backend.retry_flow(flow.id)).state == "running"
    assert (await ending).state is JobState.CANCELLED


@virtual_time
async def test_of_many_equal_jobs_those_beyond_the_capacity_are_rejected(make: Make) -> None:
    backend = make(small=QueuePolicy(capacity=3))
    receipts = await backend.submit_many([(SMALL, b"%d" % n, None, None) for n in range(5)])
    accepted = [receipt.id for receipt in receipts[:3] if isinstance(receipt, SubmitReceipt)]
    assert [type(receipt) for receipt in receipts[3:]] == [QueueFull] * 2
    assert [await backend.lease() for _ in range(3)] == [
        Lease(job_id, 1, SMALL, b"%d" % n, None) for n, job_id in enumerate(accepted)
    ]


@virtual_time
async def test_many_jobs_of_alternating_specs_callers_and_uploads_are_kept_as_if_each_came_alone(make: Make) -> None:
    backend, alone = (make(small=QueuePolicy(capacity=100)) for _ in range(2))
    specs = (SMALL, JobSpec(type="other", queue=SMALL.queue), JobSpec(type="own", queue=SMALL.queue, own=True))
    callers = (None, Uniqueness("ann", plain=True), Uniqueness("bob", plain=True))
    uploads = (None, Upload("folder", {}), None)
    many = [(spec, b"{}", up, u) for spec in specs for u in callers for up in uploads for _ in range(2)]
    many += [(spec, b"{}", None, u) for u in callers for spec in specs for _ in range(2)]
    many.insert(1, (SMALL, b"{}", None, Uniqueness("ann", unique=Unique("u"))))
    receipts = await backend.submit_many(many)
    for asked in many:
        await alone.submit(*asked)
    assert backend.stats() == alone.stats()
    for receipt, (spec, args, upload, uniqueness) in zip(receipts, many, strict=True):
        assert isinstance(receipt, SubmitReceipt)
        job = await backend.get(receipt.id)
        assert (job.spec, job.upload, job.uniqueness) == (spec, upload, uniqueness)
        assert await backend.lease() == Lease(receipt.id, 1, spec, args, upload)


async def test_lease_waits_for_a_job_and_returns_it_to_one_worker(make: Make) -> None:
    backend = make()
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(3)]
    await settle()
    assert not any(worker.done() for worker in workers)
    job = await submit(backend)
    await settle()
    leases = [worker.result() for worker in workers if worker.done()]
    assert [(lease.job_id, lease.attempt) for lease in leases] == [(job.id, 1)]
    for worker in workers:
        worker.cancel()


@virtual_time
async def test_the_jobs_that_a_worker_leaves_are_leased_by_others_once_it_passes_on(make: Make) -> None:
    backend = make()
    workers = [asyncio.create_task(backend.lease()) for _ in range(2)]
    await settle()
    await submit(backend)
    await submit(backend)
    await settle()
    backend.pass_on()
    await settle()
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_lease_now_returns_no_job_where_none_is_ready(make: Make) -> None:
    backend = make()
    assert backend.lease_now() is None
    await backend.submit(JobSpec(type="t", delay_s=10))
    assert backend.lease_now() is None
    job = await submit(backend)
    lease = backend.lease_now() or await backend.lease()
    assert lease.job_id == job.id
    assert backend.lease_now() is None


@virtual_time
async def test_end_now_records_a_success_at_once_or_does_nothing(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    lease = await backend.lease()
    if backend.end_now(job.id, lease.attempt, Success(b"1")):
        with pytest.raises(StaleLease):
            backend.end_now(job.id, lease.attempt, Success(b"2"))
    else:
        await backend.ack(job.id, lease.attempt, Success(b"1"))
    assert (await backend.get(job.id)).result == b"1"


@virtual_time
async def test_end_now_records_a_failure_at_once_or_does_nothing(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    lease = await backend.lease()
    failure = Failure(ErrorCode.HANDLER_ERROR, "boom", final=True)
    if backend.end_now(job.id, lease.attempt, failure):
        with pytest.raises(StaleLease):
            backend.end_now(job.id, lease.attempt, failure)
    else:
        await backend.nack(job.id, lease.attempt, failure)
    assert (await backend.wait(job.id)).state is JobState.FAILED


@virtual_time
async def test_cancelling_a_waiting_lease_loses_no_job(make: Make) -> None:
    backend = make()
    waiting = asyncio.create_task(lease_one(backend))
    await settle()
    submitting = asyncio.create_task(submit(backend))
    await one_turn()  # the job is there, and the wait has not gone on yet
    waiting.cancel()
    assert (await backend.lease()).job_id == (await submitting).id


@virtual_time
async def test_a_second_outcome_raises_stale_lease(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    lease = await backend.lease()
    await backend.report(job.id, lease.attempt, Progress(0.5))
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    for late in (
        backend.ack(job.id, lease.attempt, Success(b"2")),
        backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no")),
        backend.report(job.id, lease.attempt, Progress(0.6)),
    ):
        with pytest.raises(StaleLease):
            await late
    assert (await backend.get(job.id)).result == b"1"


@virtual_time
async def test_wait_returns_when_the_job_becomes_terminal_and_immediately_afterwards(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    waiters = [asyncio.create_task(backend.wait(job.id)) for _ in range(3)]
    lease = await backend.lease()
    await settle()
    assert not any(waiter.done() for waiter in waiters)
    await backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no"))
    for waiter in [*waiters, asyncio.create_task(backend.wait(job.id))]:
        assert (await waiter).state is JobState.FAILED


@virtual_time
async def test_a_wait_begins_with_its_call_and_outlives_the_record(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    ending, cancelled = backend.ending(job.id), backend.ending(job.id)
    cancelled.cancel()
    await backend.cancel(job.id)
    await backend.delete(job.id)
    assert (await ending).state is JobState.CANCELLED
    assert cancelled.cancelled()
    for unknown in (job.id, "x"):
        with pytest.raises((JobGone, JobNotFound)):
            await backend.ending(unknown)
    over = await submit(backend)
    await backend.cancel(over.id)
    assert (await backend.ending(over.id)).state is JobState.CANCELLED


@pytest.mark.parametrize("wait", [wait_for_end, wait_for_change])
@virtual_time
async def test_cancelling_one_waiter_does_not_affect_the_others(make: Make, wait: Wait) -> None:
    backend = make()
    job = await submit(backend)
    first, second = [asyncio.create_task(wait(backend, job.id)) for _ in range(2)]
    await settle()
    first.cancel()
    await settle()
    await backend.cancel(job.id)
    await second


@pytest.mark.parametrize("wait", [wait_for_end, wait_for_change])
@virtual_time
async def test_thousands_of_waiters_are_woken_over_several_loop_iterations(make: Make, wait: Wait) -> None:
    backend = make()
    job = await submit(backend)
    waiting = [asyncio.create_task(wait(backend, job.id)) for _ in range(3000)]
    await settle()
    waiting[1].cancel()
    await backend.cancel(job.id)
    woken = [0]
    for _ in range(100):
        await one_turn()
        woken.append(sum(task.done() for task in waiting))
    assert woken[-1] == 3000
    assert max(after - before for before, after in pairwise(woken)) <= 500


@virtual_time
async def test_operations_distinguish_unknown_deleted_and_live_jobs(make: Make) -> None:
    backend = make()
    for unknown in (backend.get("x"), backend.wait("x"), backend.cancel("x"), backend.delete("x")):
        with pytest.raises(JobNotFound):
            await unknown
    job = await submit(backend)
    with pytest.raises(WrongState):
        await backend.delete(job.id)
    await backend.cancel(job.id)
    await backend.delete(job.id)
    with pytest.raises(JobGone):
        await backend.get(job.id)


@virtual_time
async def test_a_cancelled_job_is_not_leased(make: Make) -> None:
    backend = make()
    first, second = await submit(backend), await submit(backend)
    await backend.cancel(first.id)
    assert (await backend.lease()).job_id == second.id


@virtual_time
async def test_a_rejected_submission_stores_no_job_and_is_counted(make: Make) -> None:
    backend = make()
    await backend.submit(SMALL)
    with pytest.raises(QueueFull):
        await backend.submit(SMALL)
    statuses, small = backend.stats()[0], stats_of(backend, "small")
    assert (statuses.accepted_total, small.live, small.submitted_total, small.refused_total) == (1, 1, 1, 1)


@virtual_time
async def test_a_queue_counts_its_jobs_by_type(make: Make) -> None:
    backend = make()
    await submit(backend, JobSpec(type="odd"))
    lease = await backend.lease()
    await backend.ack(lease.job_id, lease.attempt, Success(b"1"))
    await submit(backend, JobSpec(type="even"))
    await backend.submit(SMALL)
    with pytest.raises(QueueFull):
        await backend.submit(SMALL)
    counts = backend.counts("default")
    assert {name: (each.submitted_total, each.waiting) for name, each in counts.types.items()} == {
        "odd": (1, 0),
        "even": (1, 1),
    }
    assert (counts.types["odd"].succeeded_total, counts.types["odd"].runs["succeeded"].count) == (1, 1)
    assert (counts.waits.count, backend.counts("small").waits.count) == (1, 0)
    assert backend.counts("small").refused == {QueueFull: 1}
    odd, waits = backend.type_counts("odd", "default")
    assert (odd.submitted_total, odd.succeeded_total, odd.running) == (1, 1, 0)
    assert odd.runs["succeeded"].counts == counts.types["odd"].runs["succeeded"].counts
    assert waits.counts == counts.waits.counts
    assert backend.type_counts("unknown", "small")[0].submitted_total == 0


@virtual_time
async def test_pages_cover_all_matching_jobs_newest_first(make: Make) -> None:
    backend = make()
    odd, even = JobSpec(type="odd", group="g"), JobSpec(type="even")
    ids = [(await submit(backend, odd if n % 2 else even)).id for n in range(25)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await backend.page(JobFilter(type="odd"), limit=5, cursor=cursor)
        assert len(page.jobs) <= 5
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == ids[1::2][::-1]
    for job_filter, count in (
        (JobFilter(state=JobState.QUEUED), 25),
        (JobFilter(state=JobState.RUNNING), 0),
        (JobFilter(queue="default"), 25),
        (JobFilter(queue="small"), 0),
        (JobFilter(group="g"), 12),
        (JobFilter(group="g", type="even"), 0),
    ):
        assert len((await backend.page(job_filter, limit=100, cursor=None)).jobs) == count


@virtual_time
async def test_callers_are_found_by_the_records_that_they_hold(make: Make) -> None:
    backend = make()
    for caller, jobs in (("ann", 3), ("bob", 1)):
        for _ in range(jobs):
            await backend.submit(SPEC, b"[]", uniqueness=Uniqueness(caller))
    await submit(backend)
    names, complete = backend.holders(100)
    assert ({*names}, complete) == ({"ann", "bob", None}, True)
    assert backend.holding("ann") == CallerHolding(live=3, records=3, size_bytes=6)
    lease = await backend.lease()
    await backend.ack(lease.job_id, lease.attempt, Success(b"1"))
    held = backend.holding("ann")
    assert (held.live, held.records) == (2, 3)
    assert backend.holding("stranger") == CallerHolding()
    few, complete = backend.holders(1)
    assert (len(few) <= 2, complete) == (True, False)


@virtual_time
async def test_failed_jobs_are_found_in_groups_and_by_the_group(make: Make) -> None:
    backend = make()
    for message in ("user 1 is gone", "user 2 is gone", "no mail"):
        job = await submit(backend)
        lease = await backend.lease()
        await backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, message))
    await submit(backend)
    found = await backend.failures(JobFilter())
    assert [(group.message, group.count) for group in found.groups] == [("no mail", 1), ("user # is gone", 2)]
    assert (found.complete, found.other) == (True, None)
    of_users = JobFilter(failure=found.groups[1].id)
    page = await backend.page(of_users, limit=10, cursor=None)
    assert [job.id for job in page.jobs] == found.groups[1].sample
    assert (await backend.failures(of_users)).groups == found.groups[1:]
    assert (await backend.failures(JobFilter(owner="stranger"))).groups == []
    assert (await backend.bulk("retry", of_users)).count == 2
    assert [group.message for group in (await backend.failures(JobFilter())).groups] == ["no mail"]


@virtual_time
async def test_pages_from_the_oldest_on_cover_all_jobs_and_later_submissions(make: Make) -> None:
    backend = make()
    ids = [(await submit(backend)).id for _ in range(8)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await backend.page(JobFilter(), limit=3, cursor=cursor, oldest_first=True)
        seen += [job.id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
        if len(ids) < 10:
            ids.append((await submit(backend)).id)
    assert seen == ids
    last = await backend.get(ids[-1])
    later = await backend.page(
        JobFilter(), limit=3, cursor=backend.cursor_after(last, oldest_first=True), oldest_first=True
    )
    assert later.jobs == []


@virtual_time
async def test_jobs_are_counted_by_the_filters_of_pages(make: Make) -> None:
    backend = make()
    for n in range(9):
        await submit(backend, JobSpec(type="odd" if n % 2 else "even"))
    assert await backend.count(JobFilter()) == Count(9, True)
    assert await backend.count(JobFilter(type="odd")) == Count(4, True)


@virtual_time
async def test_the_last_page_has_no_cursor(make: Make) -> None:
    backend = make()
    assert (await backend.page(JobFilter(), limit=5, cursor=None)).cursor is None
    for _ in range(5):
        await backend.submit(SPEC)
    assert (await backend.page(JobFilter(), limit=5, cursor=None)).cursor is None
    assert (await backend.page(JobFilter(), limit=4, cursor=None)).cursor is not None


# -- owners


ANN, BOB = Uniqueness("key:ann", owner="key:ann"), Uniqueness("key:bob", plain=True, owner="key:bob")


@virtual_time
async def test_a_record_is_absent_for_others_than_its_owner(make: Make) -> None:
    backend = make()
    own, foreign, free = [await submit(backend, uniqueness=of) for of in (ANN, BOB, None)]
    assert (own.owner, foreign.owner, free.owner) == ("key:ann", "key:bob", None)
    assert (await backend.get(own.id, "key:ann")).id == own.id
    never = "z" * len(own.id)
    for job_id in (foreign.id, free.id, never):
        with pytest.raises(JobNotFound) as absent:
            await backend.get(job_id, "key:ann")
        assert str(absent.value).replace(job_id, never) == f"no job was ever created with the id {never!r}"


@virtual_time
async def test_a_removed_record_is_gone_for_its_owner_and_was_never_there_for_others(make: Make) -> None:
    backend = make()
    job = await submit(backend, uniqueness=ANN)
    await backend.cancel(job.id)
    await backend.delete(job.id)
    for owner in ("key:ann", None):
        with pytest.raises(JobGone):
            await backend.get(job.id, owner)
    with pytest.raises(JobNotFound):
        await backend.get(job.id, "key:bob")


@virtual_time
async def test_pages_and_actions_on_many_jobs_concern_those_of_the_owner(make: Make) -> None:
    backend = make()
    jobs = [await submit(backend, uniqueness=of) for of in (ANN, BOB, None, ANN)]
    page = await backend.page(JobFilter(owner="key:ann"), limit=10, cursor=None)
    assert [job.id for job in page.jobs] == [jobs[3].id, jobs[0].id]
    assert await backend.bulk("cancel", JobFilter(owner="key:bob")) == BulkCount(1, 0)
    assert await states(backend, *jobs) == ["queued", "cancelled", "queued", "queued"]


@virtual_time
async def test_a_cursor_is_no_id_of_a_job(make: Make) -> None:
    backend = make()
    jobs = [await submit(backend) for _ in range(3)]
    cursors = {backend.cursor_after(jobs[1]), (await backend.page(JobFilter(), limit=1, cursor=None)).cursor}
    assert not cursors & {job.id for job in jobs}


@virtual_time
async def test_a_unique_value_belongs_to_a_job_of_each_owner(make: Make) -> None:
    backend = make()
    values = [Uniqueness(owner, Unique("u"), owner=owner) for owner in ("key:ann", "key:bob", None)]
    first = [(await backend.submit(SPEC, b"{}", None, of)).job.id for of in values]
    again = [(await backend.submit(SPEC, b"{}", None, of)).job.id for of in values]
    assert first == again
    assert len(set(first)) == 3


@virtual_time
async def test_groups_take_turns_and_a_position_counts_those_of_all(make: Make) -> None:
    backend = make(default=QueuePolicy(discipline=Discipline.FAIR))
    many, few, none = [
        [await submit(backend, JobSpec(type="t", group=group)) for _ in range(count)]
        for group, count in (("many", 5), ("few", 2), (None, 1))
    ]
    assert (await estimate_of(backend, many[1])).position == 2 * 3
    assert (await estimate_of(backend, many[4])).position == 8, "of eight jobs"
    await backend.cancel(many[2].id)
    leased = [(await lease_one(backend)).job_id for _ in range(7)]
    turns = [many[0], few[0], none[0], many[1], few[1], many[3], many[4]]
    assert leased == [job.id for job in turns]


@virtual_time
async def test_a_change_to_fair_and_back_keeps_every_job(make: Make) -> None:
    backend = make()
    jobs = [await submit(backend, JobSpec(type="t", group=group)) for group in "aaabbc"]
    await backend.change_queue("default", QueuePolicy(discipline=Discipline.FAIR))
    leased = [(await lease_one(backend)).job_id for _ in range(4)]
    assert leased == [jobs[number].id for number in (0, 3, 5, 1)]
    await backend.change_queue("default", QueuePolicy(discipline=Discipline.FIFO))
    assert [(await lease_one(backend)).job_id for _ in range(2)] == [jobs[2].id, jobs[4].id]


@virtual_time
async def test_groups_of_two_owners_take_turns_although_their_names_are_equal(make: Make) -> None:
    backend = make(default=QueuePolicy(discipline=Discipline.FAIR))
    grouped = JobSpec(type="t", group="g", own=True)
    many = [await submit(backend, grouped, uniqueness=ANN) for _ in range(5)]
    one = await submit(backend, grouped, uniqueness=BOB)
    leased = [(await lease_one(backend)).job_id for _ in range(2)]
    assert set(leased) == {many[0].id, one.id}


# -- records


@virtual_time
async def test_a_returned_record_is_an_immutable_snapshot(make: Make) -> None:
    backend = make()
    submitted = await submit(backend, JobSpec(type="t", attempts_max=2))
    lease = await backend.lease()
    await backend.report(submitted.id, lease.attempt, Progress(0.5))
    running = await backend.get(submitted.id)
    (listed,) = (await backend.page(JobFilter(), limit=1, cursor=None)).jobs
    stopping = await backend.cancel(submitted.id)
    await backend.nack(submitted.id, lease.attempt, BOOM)
    given = (submitted, running, listed, stopping)
    assert [job.state for job in given] == ["queued", "running", "running", "running"]
    assert [job.progress for job in given] == [None, Progress(0.5), Progress(0.5), Progress(0.5)]
    assert [job.stopping is not None for job in given] == [False, False, False, True]
    assert (await backend.wait(submitted.id)).state is JobState.CANCELLED
    with pytest.raises(AttributeError):
        running.state = JobState.SUCCEEDED


@virtual_time
async def test_the_estimate_of_a_job_that_became_terminal_is_empty(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    assert (await estimate_of(backend, job)).position == 1
    await backend.cancel(job.id)
    assert (backend.estimate(job).position, backend.estimate(job).eta_s) == (None, None)


# -- draining


@virtual_time
async def test_a_drain_rejects_submissions_and_returns_after_the_last_live_job(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    lease = await backend.lease()
    left: list[int] = []
    draining = asyncio.create_task(backend.drain(10.0, lambda: left.append(stats_of(backend).live)))
    await settle()
    with pytest.raises(Draining):
        await backend.submit(SPEC)
    assert not draining.done()
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    await draining
    assert left == [0]
    assert (await backend.get(job.id)).state is JobState.SUCCEEDED


@virtual_time
async def test_a_drain_ends_or_keeps_the_remaining_jobs_at_its_deadline(make: Make) -> None:
    backend = make()
    running, waiting = await submit(backend), await submit(backend)
    lease = await backend.lease()
    left: list[int] = []
    draining = asyncio.create_task(backend.drain(10.0, lambda: left.append(stats_of(backend).live)))
    await asyncio.sleep(10.5)
    assert left == [2], "the remaining jobs are counted before the first of them ends"
    await backend.stopped(running.id, lease.attempt)
    assert await draining == int(backend.keeps)
    for job_id in (running.id, waiting.id):
        left_over = await backend.get(job_id)
        if backend.keeps:
            assert left_over.state is JobState.QUEUED
        else:
            assert (left_over.state, left_over.error and left_over.error.code) == (
                JobState.CANCELLED,
                ErrorCode.SHUTDOWN,
            )


@virtual_time
async def test_stop_admitting_rejects_new_submissions_and_keeps_the_jobs(make: Make) -> None:
    backend = make()
    job = await submit(backend)
    backend.stop_admitting()
    with pytest.raises(Draining):
        await backend.submit(SPEC)
    assert (await backend.lease()).job_id == job.id


# -- deadlines and workers


@virtual_time
async def test_a_started_backend_meets_each_kind_of_deadline(make: Make) -> None:
    backend = make()
    await backend.start(Workers())
    delayed = await submit(backend, JobSpec(type="t", delay_s=2.0, timeout_s=3.0, ttl_s=5.0))
    expiring = await submit(backend, JobSpec(type="t", queue="small", delay_s=20.0, start_by_s=4.0))
    worker = asyncio.create_task(backend.lease())
    await asyncio.sleep(1.9)
    assert not worker.done()
    await asyncio.sleep(0.2)
    assert worker.result().job_id == delayed.id
    await asyncio.sleep(3.0 + LEASE_GRACE_S)
    assert (await states(backend, delayed)) == [JobState.FAILED]
    await asyncio.sleep(6.0)
    with pytest.raises(JobGone):
        await backend.get(delayed.id)
    await asyncio.sleep(20.0)
    assert (await states(backend, expiring)) == [JobState.EXPIRED]
    await backend.stop()


@virtual_time
async def test_a_worker_is_called_for_when_a_job_may_be_taken_and_no_lease_waits(make: Make) -> None:
    backend, workers = make(), Workers()
    await backend.start(workers)
    worker = asyncio.create_task(backend.lease())
    await settle()
    await backend.submit(SPEC)
    await worker
    assert not workers.called.is_set()
    backend.pass_on()
    await backend.submit(SPEC)
    await asyncio.wait_for(workers.called.wait(), 10)
    await backend.stop()


@virtual_time
async def test_workers_learn_which_attempt_to_stop_and_which_has_lost_its_lease(make: Make) -> None:
    backend, workers = make(), Workers()
    await backend.start(workers)
    cancelled = await submit(backend)
    await backend.lease()
    await backend.cancel(cancelled.id)
    await settle()
    assert workers.stopped == [(cancelled.id, 1)]
    late = await submit(backend, JobSpec(type="t", timeout_s=1.0))
    await backend.lease()
    await asyncio.sleep(1.0 + LEASE_GRACE_S + 0.5)
    assert workers.stopped == [(cancelled.id, 1), (late.id, 1)]
    assert workers.abandoned == [(cancelled.id, 1), (late.id, 1)], "neither has reported its end"
    await backend.stop()


@virtual_time
async def test_a_job_waits_until_its_pool_has_a_permit(make: Make) -> None:
    backend = make()
    backend.set_permits("process", 0)
    held, other = await submit(backend, JobSpec(type="p", pool="process")), await submit(backend)
    assert (await backend.lease()).job_id == other.id
    worker = asyncio.create_task(backend.lease())
    await settle()
    assert not worker.done()
    backend.set_permits("process", 1)
    assert (await worker).job_id == held.id


@virtual_time
async def test_a_page_begins_after_any_job_and_refuses_a_foreign_cursor(make: Make) -> None:
    backend = make()
    jobs = [await submit(backend) for _ in range(4)]
    page = await backend.page(JobFilter(), limit=10, cursor=backend.cursor_after(jobs[2]))
    assert [job.id for job in page.jobs] == [jobs[1].id, jobs[0].id]
    with pytest.raises(InvalidCursor, match="no such thing"):
        await backend.page(JobFilter(), limit=10, cursor="no such thing")


@virtual_time
async def test_a_lower_caller_jobs_max_applies_to_new_submissions_only(make: Make) -> None:
    backend = make()
    first = await submit(backend, uniqueness=Uniqueness("ann"))
    await submit(backend, uniqueness=Uniqueness("ann"))
    await backend.set_quotas(Quotas(Quota(jobs_max=1)))
    with pytest.raises(RateLimited):
        await backend.submit(SPEC, uniqueness=Uniqueness("ann"))
    assert (await backend.get(first.id)).state is JobState.QUEUED


# -- duplicates


@virtual_time
async def test_a_duplicate_submission_returns_the_existing_job_or_is_rejected(make: Make) -> None:
    backend = make()
    uniqueness = Uniqueness("ann", Unique("u"), IdempotencyKey("k", b"1"))
    first = await backend.submit(SPEC, b"{}", None, uniqueness)
    again = await backend.submit(SPEC, b"{}", None, uniqueness)
    other = await backend.submit(SPEC, b"{}", None, Uniqueness("bob", Unique("u")))
    assert [submitted.duplicate for submitted in (first, again, other)] == [False, True, True]
    assert first.job.id == again.job.id == other.job.id
    with pytest.raises(KeyReused):
        await backend.submit(SPEC, b"{}", None, Uniqueness("ann", None, IdempotencyKey("k", b"2")))
    with pytest.raises(Duplicate) as duplicate:
        await backend.submit(SPEC, b"{}", None, Uniqueness("bob", Unique("u", "reject")))
    assert duplicate.value.job_id == first.job.id
    assert backend.stats()[0].accepted_total == 1


@virtual_time
async def test_waiters_of_a_replaced_job_get_its_cancellation(make: Make) -> None:
    backend = make()
    old = await submit(backend, uniqueness=Uniqueness(unique=Unique("u")))
    waiter = asyncio.create_task(backend.wait(old.id))
    await settle()
    new = await submit(backend, uniqueness=Uniqueness(unique=Unique("u", "replace")))
    assert (await waiter).state is JobState.CANCELLED
    assert (await backend.lease()).job_id == new.id


@virtual_time
async def test_caller_jobs_max_limits_the_live_jobs_of_each_caller(make: Make) -> None:
    backend = make(caller_jobs_max=1)
    await backend.submit(SPEC, uniqueness=Uniqueness("ann"))
    with pytest.raises(RateLimited):
        await backend.submit(SPEC, uniqueness=Uniqueness("ann"))
    await backend.submit(SPEC, uniqueness=Uniqueness("bob"))


@virtual_time
async def test_refuse_unseen_returns_queue_full_once_every_queue_is_full(make: Make) -> None:
    backend = make(default=QueuePolicy(capacity=1))
    assert backend.refuse_unseen() is None
    await backend.submit(SPEC)
    assert backend.refuse_unseen() is None
    await backend.submit(SMALL)
    refusal = backend.refuse_unseen()
    assert isinstance(refusal, QueueFull)
    assert refusal.retry_after_s >= 1.0
    assert sum(queue.refused_total for queue in backend.stats()[1]) == 1


# -- one pool for all queues


@virtual_time
async def test_lease_returns_jobs_of_all_queues(make: Make) -> None:
    backend = make()
    jobs = [await submit(backend, SMALL), await submit(backend), await submit(backend)]
    leased = [(await backend.lease()).job_id for _ in jobs]
    assert sorted(leased) == sorted(job.id for job in jobs)


@virtual_time
async def test_a_queue_never_runs_more_jobs_than_its_workers(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    for _ in range(5):
        await backend.submit(SPEC)
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(4)]
    await settle()
    assert sum(worker.done() for worker in workers) == 2
    leased = [worker.result() for worker in workers if worker.done()]
    await backend.ack(leased[0].job_id, 1, Success(b"1"))
    await settle()
    assert sum(worker.done() for worker in workers) == 3, "the end of one job wakes one waiting worker"
    await backend.nack(leased[1].job_id, 1, BOOM)
    await settle()
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_two_slots_freed_at_once_wake_two_workers(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    for _ in range(4):
        await backend.submit(SPEC)
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(4)]
    await settle()
    first, second = [worker.result() for worker in workers if worker.done()]
    await backend.ack(first.job_id, 1, Success(b"1"))
    await backend.nack(second.job_id, 1, BOOM)
    await settle()
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_a_paused_queue_starts_no_job_until_it_is_resumed(make: Make) -> None:
    backend = make()
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(3)]
    await backend.pause("default")
    for _ in range(3):
        await backend.submit(SPEC)
    await settle()
    assert not any(worker.done() for worker in workers)
    assert stats_of(backend).paused
    small = await submit(backend, SMALL)
    await settle()
    assert [worker.result().job_id for worker in workers if worker.done()] == [small.id]
    await backend.resume("default")
    await settle()
    assert all(worker.done() for worker in workers)
    assert not stats_of(backend).paused


@virtual_time
async def test_a_queue_that_was_paused_for_a_time_resumes_by_itself(make: Make) -> None:
    backend = make()
    await backend.start(Workers())
    worker = asyncio.create_task(lease_one(backend))
    await backend.pause("default", reason="deploy", for_s=60.0, by="key:ops")
    job = await submit(backend)
    pause = stats_of(backend).pause
    assert pause is not None
    assert (pause.reason, pause.until, pause.by) == ("deploy", pause.since + 60.0, "key:ops")
    await asyncio.sleep(59.0)
    assert not worker.done()
    await backend.change_queue("default", QueuePolicy(workers=3))
    assert stats_of(backend).pause == pause
    await asyncio.sleep(1.5)
    assert worker.result().job_id == job.id
    assert stats_of(backend).pause is None
    await backend.stop()


@virtual_time
async def test_a_changed_policy_applies_to_waiting_workers_and_to_submissions(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=1))
    jobs = [await submit(backend) for _ in range(4)]
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(3)]
    await settle()
    policy = QueuePolicy(capacity=4, workers=3, discipline=Discipline.LIFO)
    await backend.change_queue("default", policy)
    await settle()
    assert [worker.result().job_id for worker in workers] == [jobs[0].id, jobs[3].id, jobs[2].id]
    assert stats_of(backend).policy == policy
    with pytest.raises(QueueFull):
        await backend.submit(SPEC)
    assert stats_of(backend).live == 4


@virtual_time
async def test_a_changed_discipline_reorders_the_jobs_that_wait_at_a_limiter(make: Make) -> None:
    backend = make()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    first, second, third = [await submit(backend, spec) for _ in range(3)]
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(3)]
    await settle()
    assert [worker.result().job_id for worker in workers if worker.done()] == [first.id]
    await backend.change_queue("default", QueuePolicy(discipline=Discipline.LIFO))
    for job, after in ((first, third), (third, second)):
        await backend.ack(job.id, 1, Success(b"1"))
        await settle()
        assert (await backend.get(after.id)).state is JobState.RUNNING
    assert all(worker.done() for worker in workers)


@virtual_time
async def test_a_worker_cancelled_among_blocked_jobs_leaves_the_ready_job_to_the_next_worker(make: Make) -> None:
    backend = make(default=QueuePolicy(capacity=CAPACITY, workers=2))
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    await backend.submit(spec)
    await backend.lease()
    await backend.pause("default")
    for _ in range(2000):
        await backend.submit(spec)
    free = await submit(backend)
    workers = [asyncio.create_task(lease_one(backend)) for _ in range(2)]
    await settle()
    await backend.resume("default")
    await one_turn()
    await one_turn()
    workers[0].cancel()
    await settle()
    leased = [worker.result() for worker in workers if worker.done() and not worker.cancelled()]
    assert [lease.job_id for lease in leased] == [free.id]


@virtual_time
async def test_a_lease_that_passes_thousands_of_blocked_jobs_yields_to_the_loop(make: Make) -> None:
    backend = make()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    await backend.pause("default")
    for _ in range(2000):
        await backend.submit(spec)
    free = await submit(backend)
    await backend.resume("default")
    await backend.lease()
    worker = asyncio.create_task(lease_one(backend))
    turns = 0
    while not worker.done():
        turns += 1
        await one_turn()
    assert worker.result().job_id == free.id
    # A store passes them by itself.
    assert (1 if backend.shared else 10) <= turns <= 200


# -- failed and delayed jobs


@virtual_time
async def test_retrying_a_failed_job_runs_it_again_and_new_waiters_get_its_new_outcome(make: Make) -> None:
    backend = make()
    job = await submit_failed(backend, args=b"7")
    assert (await backend.wait(job.id)).state is JobState.FAILED
    again = await backend.retry(job.id)
    assert (again.id, again.state, again.args) == (job.id, JobState.QUEUED, b"7")
    waiter = asyncio.create_task(backend.wait(job.id))
    lease = await backend.lease()
    assert lease.attempt == 2
    with pytest.raises(StaleLease):
        await backend.ack(job.id, 1, Success(b"old"))
    assert not waiter.done()
    await backend.ack(job.id, 2, Success(b"1"))
    assert (await waiter).state is JobState.SUCCEEDED
    assert (stats_of(backend).retried_total, backend.stats()[0].accepted_total) == (1, 1)
    with pytest.raises(WrongState):
        await backend.retry(job.id)


@virtual_time
async def test_a_retry_into_a_full_queue_raises_queue_full(make: Make) -> None:
    backend = make()
    job = await submit_failed(backend, SMALL)
    await backend.submit(SMALL)
    with pytest.raises(QueueFull):
        await backend.retry(job.id)
    assert (await backend.get(job.id)).state is JobState.FAILED


@virtual_time
async def test_run_now_makes_a_delayed_job_ready_and_wakes_a_worker(make: Make) -> None:
    backend = make()
    worker = asyncio.create_task(lease_one(backend))
    job = await submit(backend, JobSpec(type="t", delay_s=3600.0))
    await settle()
    assert not worker.done()
    assert (await backend.run_now(job.id)).state is JobState.QUEUED
    assert (await worker).job_id == job.id
    with pytest.raises(WrongState):
        await backend.run_now(job.id)


@virtual_time
async def test_retry_and_run_now_of_a_missing_job_raise_not_found_or_gone(make: Make) -> None:
    backend = make()
    job = await submit_failed(backend)
    await backend.delete(job.id)
    for act in (backend.retry, backend.run_now):
        with pytest.raises(JobNotFound):
            await act("x")
        with pytest.raises(JobGone):
            await act(job.id)


# -- bulk actions


@virtual_time
async def test_a_bulk_action_applies_to_matching_jobs_only(make: Make) -> None:
    backend = make()
    jobs = {}
    for group in "ab":
        for job_type in ("mail", "call"):
            job = await submit(backend, JobSpec(type=job_type, group=group))
            jobs[job_type + group] = job
            await asyncio.sleep(1)
    small = await submit(backend, SMALL)
    middle = jobs["maila"].created_at + 1.5

    async def cancelled(job_filter: JobFilter) -> tuple[BulkCount, list[str]]:
        before = {name for name, job in jobs.items() if not (await backend.get(job.id)).live}
        count = await backend.bulk("cancel", job_filter)
        return count, [
            name for name, job in jobs.items() if name not in before and not (await backend.get(job.id)).live
        ]

    assert await cancelled(JobFilter(type="mail", group="b")) == (BulkCount(1, 0), ["mailb"])
    assert await cancelled(JobFilter(created_before=middle, group="a", type="call")) == (BulkCount(1, 0), ["calla"])
    assert await cancelled(JobFilter(created_before=jobs["maila"].created_at)) == (BulkCount(0, 0), [])
    assert await cancelled(JobFilter(state=JobState.RUNNING)) == (BulkCount(0, 0), [])
    assert await cancelled(JobFilter(queue="default")) == (BulkCount(2, 0), ["maila", "callb"])
    assert (await backend.get(small.id)).live
    assert await cancelled(JobFilter()) == (BulkCount(1, 0), [])
    assert not (await backend.get(small.id)).live


@virtual_time
async def test_each_bulk_action_counts_only_jobs_in_a_suitable_state(make: Make) -> None:
    backend = make()
    failed = await submit_failed(backend)
    running = await submit(backend)
    lease = await backend.lease()
    queued = await submit(backend)
    over = await submit(backend)
    await backend.cancel(over.id)
    assert await backend.bulk("retry", JobFilter()) == BulkCount(1, 0)
    assert await states(backend, failed) == ["queued"]
    assert await backend.bulk("cancel", JobFilter()) == BulkCount(3, 0)
    assert await states(backend, failed, queued, running) == ["cancelled", "cancelled", "running"]
    await backend.nack(running.id, lease.attempt, BOOM)
    assert await states(backend, running) == ["cancelled"]
    assert await backend.bulk("delete", JobFilter()) == BulkCount(4, 0)
    assert backend.stats()[0].terminal == 0


@virtual_time
async def test_a_bulk_run_queues_delayed_jobs_and_those_between_two_attempts(make: Make) -> None:
    backend = make()
    between = await submit(backend, JobSpec(type="t", attempts_max=2, group="a"))
    lease = await backend.lease()
    await backend.nack(between.id, lease.attempt, BOOM)
    delayed = await submit(backend, JobSpec(type="t", delay_s=60, group="a"))
    other = await submit(backend, JobSpec(type="t", delay_s=60, group="b"))
    queued = await submit(backend)
    assert await states(backend, between, delayed, other, queued) == ["delayed", "delayed", "delayed", "queued"]
    assert await backend.bulk("run_now", JobFilter(group="a"), dry_run=True) == BulkCount(
        2, 0, 0, (delayed.id, between.id)
    )
    assert await backend.bulk("run_now", JobFilter(group="a")) == BulkCount(2, 0)
    assert await states(backend, between, delayed, other, queued) == ["queued", "queued", "delayed", "queued"]
    assert await backend.bulk("run_now", JobFilter(), limit=1) == BulkCount(1, 0)
    assert await states(backend, other) == ["queued"]


@pytest.mark.parametrize("oldest_first", [False, True])
@virtual_time
async def test_a_bulk_action_changes_no_more_jobs_than_its_limit_and_a_dry_run_none(
    make: Make, oldest_first: bool
) -> None:
    backend = make()
    jobs = [await submit(backend) for _ in range(150)]
    order = jobs if oldest_first else jobs[::-1]

    async def bulk(**more: Any) -> BulkCount:
        return await backend.bulk("cancel", JobFilter(), oldest_first=oldest_first, **more)

    dry = await bulk(dry_run=True)
    assert (dry.count, dry.skipped, dry.sample) == (150, 0, tuple(job.id for job in order[:20]))
    dry = await bulk(dry_run=True, limit=7)
    assert (dry.count, dry.sample) == (7, tuple(job.id for job in order[:7]))
    assert set(await states(backend, *jobs)) == {"queued"}
    assert await bulk(limit=70) == BulkCount(70, 0)
    assert set(await states(backend, *order[:70])) == {"cancelled"}
    assert set(await states(backend, *order[70:])) == {"queued"}
    assert (await bulk(dry_run=True)).count == 80


@virtual_time
async def test_a_bulk_action_from_the_oldest_on_ends_at_the_job_that_was_the_newest(make: Make) -> None:
    backend = make()
    there = [await submit(backend) for _ in range(1000)]
    bulk = asyncio.create_task(backend.bulk("cancel", JobFilter(), oldest_first=True))
    await one_turn()
    came = []
    while not bulk.done():
        came.append(await submit(backend))
        await one_turn()
    assert bulk.result() == BulkCount(1000, 0)
    assert set(await states(backend, *came)) == {"queued"}
    assert set(await states(backend, *there)) == {"cancelled"}


@virtual_time
async def test_a_bulk_retry_skips_jobs_without_a_slot_or_with_a_taken_unique_value(make: Make) -> None:
    backend = make(default=QueuePolicy(capacity=3))
    jobs = [await submit_failed(backend) for _ in range(5)]
    unique = await submit_failed(backend, uniqueness=Uniqueness(unique=Unique("u")))
    holder = await submit(backend, uniqueness=Uniqueness(unique=Unique("u")))
    done = await backend.bulk("retry", JobFilter())
    assert done == BulkCount(count=2, skipped=4, skipped_by={QueueFull: 3, WrongState: 1})
    assert await states(backend, *jobs) == ["failed"] * 3 + ["queued"] * 2, "the newest first"
    assert await states(backend, unique, holder) == ["failed", "queued"]


@virtual_time
async def test_a_bulk_retry_into_a_full_queue_does_not_increase_retry_after(make: Make) -> None:
    waits = []
    for dead in (0, 1000):
        backend = make(default=QueuePolicy(capacity=1))
        for _ in range(dead):
            await submit_failed(backend, JobSpec(type=str(_)))
            await asyncio.sleep(0.01)
        await backend.submit(SPEC)
        await backend.submit(SMALL)
        done = await backend.bulk("retry", JobFilter(state=JobState.FAILED))
        assert done == BulkCount(0, dead, skipped_by={QueueFull: dead} if dead else {})
        with pytest.raises(QueueFull) as refusal:
            await backend.submit(SPEC)
        waits.append(refusal.value.retry_after_s)
    assert waits[1] <= waits[0] + 1.0


@virtual_time
async def test_a_bulk_action_yields_to_the_loop_and_skips_jobs_submitted_meanwhile(make: Make) -> None:
    backend = make()
    there = [await submit(backend) for _ in range(3000)]
    bulk = asyncio.create_task(backend.bulk("cancel", JobFilter()))
    await one_turn()
    came = []
    while not bulk.done():
        came.append(await submit(backend))
        await one_turn()
    assert bulk.result() == BulkCount(3000, 0)
    assert set(await states(backend, *there)) == {"cancelled"}
    assert len(came) >= 5
    assert set(await states(backend, *came)) == {"queued"}


@virtual_time
async def test_a_bulk_retry_retries_each_job_once_even_if_it_fails_again_meanwhile(make: Make) -> None:
    backend = make()
    for _ in range(20):
        await submit_failed(backend, JobSpec(type=str(_)))

    async def work() -> None:
        while True:
            lease = await backend.lease()
            await backend.nack(lease.job_id, lease.attempt, BOOM)

    worker = asyncio.create_task(work())
    assert await backend.bulk("retry", JobFilter()) == BulkCount(20, 0)
    await settle()
    worker.cancel()
    assert stats_of(backend).failed_total == 40


# -- estimates


@virtual_time
async def test_an_estimate_without_finished_runs_has_only_a_position(make: Make) -> None:
    backend = make()
    first, second = await submit(backend), await submit(backend)
    for job, position in ((first, 1), (second, 2)):
        estimate = await estimate_of(backend, job)
        assert (estimate.position, estimate.eta_s) == (position, None)
        assert 0.1 <= estimate.poll_after_s <= 3.0


async def run_some(backend: Backend, count: int, run_s: float) -> None:
    for _ in range(count):
        job = await submit(backend)
        lease = await backend.lease()
        await asyncio.sleep(run_s)
        await backend.ack(job.id, lease.attempt, Success(b"1"))


@virtual_time
async def test_an_estimate_follows_the_measured_drain_rate_and_run_time(make: Make) -> None:
    backend = make()
    await run_some(backend, 100, 0.5)
    running = await submit(backend)
    await backend.lease()
    queued = [await submit(backend) for _ in range(20)]
    delayed = await submit(backend, JobSpec(type="t", delay_s=60.0))

    estimate = await estimate_of(backend, running)
    assert estimate.position is None
    assert estimate.eta_s == pytest.approx(0.5)
    estimate = await estimate_of(backend, queued[9])
    assert estimate.position == 10
    assert estimate.eta_s == pytest.approx(9 / 2.0 + 0.5, rel=0.05)
    estimate = await estimate_of(backend, queued[2])
    assert estimate.poll_after_s == estimate.eta_s == pytest.approx(2 / 2.0 + 0.5, rel=0.05)
    estimate = await estimate_of(backend, delayed)
    assert estimate.position is None
    assert estimate.eta_s == pytest.approx(60 + 20 / 2.0 + 0.5, rel=0.1)
    assert estimate.poll_after_s == 3.0, "the maximum poll interval"
    await asyncio.sleep(0.3)
    assert (await estimate_of(backend, running)).eta_s == pytest.approx(0.2)
    await asyncio.sleep(0.3)
    assert (await estimate_of(backend, running)).eta_s is None, "it already runs longer than its type usually does"
    assert (await estimate_of(backend, running)).poll_after_s == pytest.approx(0.3)
    await asyncio.sleep(60)
    assert (await estimate_of(backend, running)).poll_after_s == 3.0


@virtual_time
async def test_an_estimate_uses_the_run_times_of_the_jobs_own_type(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    await run_some(backend, 100, 0.001)
    slow = [await submit(backend, JobSpec(type="slow")) for _ in range(5)]
    leases = [await backend.lease() for _ in range(2)]
    for job in slow:
        assert (await estimate_of(backend, job)).eta_s is None, "no job of its type has ended so far"
        assert (await estimate_of(backend, job)).poll_after_s == 1.0
    await asyncio.sleep(3.0)
    await backend.ack(slow[0].id, leases[0].attempt, Success(b"1"))
    await backend.lease()
    assert (await estimate_of(backend, slow[1])).eta_s == pytest.approx(0.0, abs=1e-6)
    assert (await estimate_of(backend, slow[2])).eta_s == pytest.approx(3.0)
    assert (await estimate_of(backend, slow[3])).eta_s == pytest.approx(3.0 / 2 + 3.0)
    assert (await estimate_of(backend, slow[4])).eta_s == pytest.approx(2 * 3.0 / 2 + 3.0)
    quick = await submit(backend)
    assert ((await estimate_of(backend, quick)).eta_s or 0.0) > 3.0, "it is behind the slow jobs"


@virtual_time
async def test_the_first_job_of_an_idle_queue_is_estimated_to_start_immediately(make: Make) -> None:
    backend = make()
    await run_some(backend, 10, 0.5)
    await asyncio.sleep(600)
    job = await submit(backend)
    assert (await estimate_of(backend, job)).eta_s == pytest.approx(0.5)
    assert (await estimate_of(backend, job)).poll_after_s == pytest.approx(0.5)
    await submit(backend)
    third = await submit(backend)
    assert (await estimate_of(backend, third)).eta_s == pytest.approx(3 * 0.5), "a single worker is assumed"


@virtual_time
async def test_an_estimate_with_all_workers_busy_includes_the_wait_for_one_of_them(make: Make) -> None:
    backend = make(default=QueuePolicy(workers=2))
    await run_some(backend, 10, 3.0)
    for _ in range(2):
        await submit(backend)
        await backend.lease()
    job = await submit(backend)
    assert (await estimate_of(backend, job)).eta_s == pytest.approx(3.0 / 2 + 3.0), "two workers of 3 s each"


@virtual_time
async def test_a_job_of_a_paused_queue_has_a_position_but_no_eta(make: Make) -> None:
    backend = make()
    await run_some(backend, 10, 0.5)
    job = await submit(backend)
    await backend.pause("default")
    estimate = await estimate_of(backend, job)
    assert (estimate.position, estimate.eta_s) == (1, None)


@virtual_time
async def test_failed_attempts_suffice_for_an_estimate(make: Make) -> None:
    backend = make()
    job = await submit(backend, JobSpec(type="t", attempts_max=2))
    lease = await backend.lease()
    await asyncio.sleep(2)
    await backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=10.0))
    assert (await estimate_of(backend, job)).eta_s == pytest.approx(10 + 2)
    waiting = await submit(backend)
    assert (await estimate_of(backend, waiting)).eta_s == pytest.approx(2), "no worker is busy, so it may start now"


# -- waiting for any change


@virtual_time
async def test_wait_for_change_returns_on_every_change_of_a_job(make: Make) -> None:
    backend = make()
    job = await submit(
        backend, JobSpec(type="t", attempts_max=2), uniqueness=Uniqueness(unique=Unique("u", "debounce"))
    )
    boom = Failure(ErrorCode.HANDLER_ERROR, "boom", retry_after_s=60.0)
    steps: list[Callable[[], Any]] = [
        lambda: backend.submit(SPEC, b"new", None, Uniqueness(unique=Unique("u", "debounce"))),
        lambda: backend.lease(),
        lambda: backend.report(job.id, 1, Progress(0.5)),
        lambda: backend.nack(job.id, 1, boom),
        lambda: backend.run_now(job.id),
        lambda: backend.lease(),
        lambda: backend.nack(job.id, 2, boom),
        lambda: backend.retry(job.id),
        lambda: backend.lease(),
        lambda: backend.cancel(job.id),
        lambda: backend.ack(job.id, 3, Success(b"1")),
        lambda: backend.delete(job.id),
    ]
    for n, step in enumerate(steps):
        watcher = asyncio.create_task(backend.wait_for_change(seen(await backend.get(job.id))))
        await settle()
        await step()
        await settle()
        assert watcher.done(), f"step {n}"
        await watcher


@virtual_time
async def test_wait_for_change_of_several_jobs_returns_on_the_first_change_of_any_of_them(make: Make) -> None:
    backend = make()
    first, second, other = await submit(backend), await submit(backend), await submit(backend)
    watcher = asyncio.create_task(backend.wait_for_change(seen(first, second)))
    both = asyncio.create_task(backend.wait_for_change(seen(second)))
    await settle()
    await backend.cancel(other.id)
    await settle()
    assert not watcher.done()
    await backend.cancel(second.id)
    await asyncio.gather(watcher, both)
    await backend.cancel(first.id)
    await backend.wait_for_change(seen(other, first))  # changed since they were seen


# -- counts


@virtual_time
async def test_the_stats_of_a_queue_have_its_drain_rate_and_the_quarantined_types(make: Make) -> None:
    backend = make(default=QueuePolicy(retry_budget=3))
    assert (stats_of(backend).drain_rate_per_s, stats_of(backend).drain_s, stats_of(backend).quarantined) == (
        0.0,
        None,
        [],
    )
    await run_some(backend, 100, 0.5)
    for _ in range(10):
        await submit(backend)
    stats = stats_of(backend)
    assert stats.drain_rate_per_s == pytest.approx(2.0, rel=0.05)
    assert stats.drain_s == pytest.approx(10 / 2.0, rel=0.05)
    await backend.bulk("cancel", JobFilter())
    for _ in range(3):
        await submit_failed(backend, JobSpec(type="bad"))
    for name in ("default", "small"):
        (quarantined,) = stats_of(backend, name).quarantined
        assert backend.quarantined() == [quarantined]
        assert (quarantined.type, quarantined.since) == ("bad", backend.now())
        assert quarantined.until > backend.now()
        assert "boom" in quarantined.reason


@virtual_time
async def test_a_released_type_is_in_no_quarantine_and_a_waiting_worker_gets_its_jobs(make: Make) -> None:
    backend = make(default=QueuePolicy(retry_budget=3))
    assert not await backend.release("bad")
    for _ in range(3):
        await submit_failed(backend, JobSpec(type="bad"))
    waiting = await submit(backend, JobSpec(type="bad"))
    worker = asyncio.create_task(backend.lease())
    await settle()
    assert not worker.done()
    assert await backend.release("bad")
    assert (await worker).job_id == waiting.id
    assert backend.quarantined() == []


@virtual_time
async def test_limiters_count_the_permits_held_and_the_jobs_that_wait(make: Make) -> None:
    backend = make()
    spec = JobSpec(type="one", limits=Limits(concurrency=1))
    await submit(backend, spec)
    await submit(backend, spec)
    await backend.lease()
    worker = asyncio.create_task(backend.lease())
    await settle()
    worker.cancel()
    (limiter,) = [limiter for limiter in backend.limiters() if limiter.kind == "type"]
    assert (limiter.name, limiter.permits, limiter.held, limiter.waiting) == ("one", 1, 1, 1)


@virtual_time
async def test_each_group_of_each_owner_runs_one_job_at_a_time_in_order(make: Make) -> None:
    backend = make()
    jobs = {}
    for owner in (ANN, BOB):
        for group in ("g", "h"):
            spec = JobSpec(type="one", limits=Limits(group_concurrency=1), group=group, own=True)
            jobs[owner.owner, group] = [await submit(backend, spec, uniqueness=owner) for _ in range(2)]
    firsts = [(await lease_one(backend)).job_id for _ in range(4)]
    assert set(firsts) == {first.id for first, _ in jobs.values()}
    worker = asyncio.create_task(lease_one(backend))
    await settle()
    assert not worker.done()
    await backend.ack(jobs["key:bob", "g"][0].id, 1, Success(b"1"))
    assert (await worker).job_id == jobs["key:bob", "g"][1].id
    await backend.refresh()
    (limiter,) = [limiter for limiter in backend.limiters() if limiter.kind == "groups"]
    assert (limiter.name, limiter.permits, limiter.held, limiter.waiting) == ("one", 1, 4, 3)


@virtual_time
async def test_a_group_without_a_token_of_its_rate_holds_no_other_up(make: Make) -> None:
    backend = make()
    limits = Limits(group_rate=Rate(2, 3600.0, 1))
    jobs = [
        await submit(backend, JobSpec(type="one", limits=limits, group=group, own=True)) for group in ("g", "g", "h")
    ]
    free = await submit(backend, JobSpec(type="one", limits=limits))
    leased = [(await lease_one(backend)).job_id for _ in range(3)]
    assert leased == [jobs[0].id, jobs[2].id, free.id]
    worker = asyncio.create_task(lease_one(backend))
    await settle()
    worker.cancel()
    assert await states(backend, jobs[1]) == ["queued"]


@virtual_time
async def test_many_records_are_read_at_once_and_each_id_without_one_says_why(make: Make) -> None:
    backend = make()
    done = await submit_failed(backend)
    await backend.delete(done.id)
    mine = await submit(backend, uniqueness=Uniqueness("ann", plain=True, owner="ann"))
    others = await submit(backend, uniqueness=Uniqueness("bob", plain=True, owner="bob"))
    found = await backend.get_many([mine.id, "no-id", done.id, others.id])
    assert [each.id if isinstance(each, JobView) else type(each) for each in found] == [
        mine.id,
        JobNotFound,
        JobGone,
        others.id,
    ]
    found = await backend.get_many([mine.id, others.id], "ann")
    assert [each.id if isinstance(each, JobView) else type(each) for each in found] == [mine.id, JobNotFound]
    assert await backend.get_many([]) == []


@virtual_time
async def test_a_listener_gets_the_events_of_its_own_process_in_order(make: Make) -> None:
    backend = make()
    heard: list[tuple[str, str, str]] = []
    leave = backend.subscribe(
        lambda event: heard.append((type(event).__name__, event.job.id, event.job.state)), Submitted, Started, Ended
    )
    job = await submit(backend)
    lease = await lease_one(backend)
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    assert heard == [
        ("Submitted", job.id, "queued"),
        ("Started", job.id, "running"),
        ("Ended", job.id, "succeeded"),
    ]
    leave()
    await submit(backend)
    assert len(heard) == 3


@virtual_time
async def test_a_suspension_of_the_process_is_no_part_of_an_attempts_time(make: Make) -> None:
    backend, workers = make(), Workers()
    await backend.start(workers)
    job = await submit(backend, JobSpec(type="t", timeout_s=10.0))
    await lease_one(backend)
    await asyncio.sleep(8.0)
    backend.excuse(5.0)
    await asyncio.sleep(4.0)
    assert workers.stopped == []
    await asyncio.sleep(4.0)
    assert workers.stopped == [(job.id, 1)]
    await backend.stop()
