"""What every Backend owes the shell. A later backend joins by a line in `BACKENDS`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from jobqueue.backend.base import Backend, JobFilter
from jobqueue.backend.memory import PAGE_SCAN_MAX, MemoryBackend
from jobqueue.core.engine import Engine
from jobqueue.core.events import Ended, Event, Ready, Started, Submitted
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.job import ErrorCode, Failure, JobSpec, JobState, Progress, Success
from jobqueue.errors import JobGone, JobNotFound, QueueFull, StaleLease, WrongState
from jobqueue.testing import virtual_time

CAPACITY = 6000


def memory_backend() -> Backend:
    engine = Engine(
        queues={"default": CAPACITY, "small": 1},
        ids=IdIssuer(secret=b"0123456789abcdef", run=RUNS[1]),
        rng=Random(1),
    )
    return MemoryBackend(engine, now=asyncio.get_running_loop().time)


BACKENDS = [memory_backend]
SPEC = JobSpec(type="t")
every_backend = pytest.mark.parametrize("make", BACKENDS)
Make = Callable[[], Backend]


@every_backend
@virtual_time
async def test_what_submit_returned_can_be_read_at_once(make: Make) -> None:
    backend = make()
    job = await backend.submit(SPEC)
    assert (await backend.get(job.id)).state is JobState.QUEUED


@every_backend
@virtual_time
async def test_a_lease_waits_for_a_job_and_gives_it_to_one_worker_only(make: Make) -> None:
    backend = make()
    workers = [asyncio.create_task(backend.lease("default")) for _ in range(3)]
    await asyncio.sleep(1)
    assert not any(worker.done() for worker in workers)
    job = await backend.submit(SPEC)
    await asyncio.sleep(1)
    leases = [worker.result() for worker in workers if worker.done()]
    assert [(lease.job.id, lease.attempt) for lease in leases] == [(job.id, 1)]
    for worker in workers:
        worker.cancel()


@every_backend
@virtual_time
async def test_a_worker_that_is_cancelled_while_it_waits_takes_no_job_with_it(make: Make) -> None:
    backend = make()
    waiting = asyncio.create_task(backend.lease("default"))
    await asyncio.sleep(0)
    job = await backend.submit(SPEC)
    waiting.cancel()
    assert (await backend.lease("default")).job.id == job.id


@every_backend
@virtual_time
async def test_verdicts_end_a_job_once(make: Make) -> None:
    backend = make()
    job = await backend.submit(SPEC)
    lease = await backend.lease("default")
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


@every_backend
@virtual_time
async def test_waiters_are_told_the_moment_a_job_ends_and_late_ones_at_once(make: Make) -> None:
    backend = make()
    job = await backend.submit(SPEC)
    waiters = [asyncio.create_task(backend.wait(job.id)) for _ in range(3)]
    lease = await backend.lease("default")
    await asyncio.sleep(1)
    assert not any(waiter.done() for waiter in waiters)
    await backend.nack(job.id, lease.attempt, Failure(ErrorCode.HANDLER_ERROR, "no"))
    for waiter in [*waiters, asyncio.create_task(backend.wait(job.id))]:
        assert (await waiter).state is JobState.FAILED


@every_backend
@virtual_time
async def test_a_waiter_that_gives_up_leaves_the_others_alone(make: Make) -> None:
    backend = make()
    job = await backend.submit(SPEC)
    first, second = asyncio.create_task(backend.wait(job.id)), asyncio.create_task(backend.wait(job.id))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    await backend.cancel(job.id)
    assert (await second).state is JobState.CANCELLED


@every_backend
@virtual_time
async def test_unknown_deleted_and_live_jobs_are_told_apart(make: Make) -> None:
    backend = make()
    for unknown in (backend.get("x"), backend.wait("x"), backend.cancel("x"), backend.delete("x")):
        with pytest.raises(JobNotFound):
            await unknown
    job = await backend.submit(SPEC)
    with pytest.raises(WrongState):
        await backend.delete(job.id)
    await backend.cancel(job.id)
    await backend.delete(job.id)
    with pytest.raises(JobGone):
        await backend.get(job.id)


@every_backend
@virtual_time
async def test_a_cancelled_job_leaves_no_trace_in_its_ready_queue(make: Make) -> None:
    backend = make()
    first, second = await backend.submit(SPEC), await backend.submit(SPEC)
    await backend.cancel(first.id)
    assert (await backend.lease("default")).job.id == second.id


@every_backend
@virtual_time
async def test_a_refusal_keeps_nothing_and_is_counted(make: Make) -> None:
    backend = make()
    spec = JobSpec(type="t", queue="small")
    await backend.submit(spec)
    with pytest.raises(QueueFull):
        await backend.submit(spec)
    statuses, queues = backend.stats()
    (small,) = [queue for queue in queues if queue.name == "small"]
    assert (statuses.accepted_total, small.live, small.submitted_total, small.refused_total) == (1, 1, 1, 1)


@every_backend
@virtual_time
async def test_pages_go_through_all_that_match_newest_first(make: Make) -> None:
    backend = make()
    odd, even = JobSpec(type="odd", group="g"), JobSpec(type="even")
    ids = [(await backend.submit(odd if n % 2 else even)).id for n in range(25)]
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


@every_backend
@virtual_time
async def test_a_search_stops_after_a_bounded_number_of_records_and_can_go_on(make: Make) -> None:
    backend = make()
    wanted = await backend.submit(JobSpec(type="wanted"))
    for _ in range(PAGE_SCAN_MAX):
        await backend.submit(SPEC)
    page = await backend.page(JobFilter(type="wanted"), limit=5, cursor=None)
    assert page.jobs == []
    assert page.cursor is not None
    page = await backend.page(JobFilter(type="wanted"), limit=5, cursor=page.cursor)
    assert [job.id for job in page.jobs] == [wanted.id]
    assert page.cursor is None


@every_backend
@virtual_time
async def test_the_last_page_knows_that_it_is_the_last(make: Make) -> None:
    backend = make()
    assert (await backend.page(JobFilter(), limit=5, cursor=None)).cursor is None
    for _ in range(5):
        await backend.submit(SPEC)
    assert (await backend.page(JobFilter(), limit=5, cursor=None)).cursor is None
    assert (await backend.page(JobFilter(), limit=4, cursor=None)).cursor is not None


@every_backend
@virtual_time
async def test_listeners_hear_every_fact_in_order_until_they_leave(make: Make) -> None:
    backend = make()
    heard: list[Event] = []
    leave = backend.subscribe(heard.append)
    job = await backend.submit(SPEC)
    lease = await backend.lease("default")
    await backend.ack(job.id, lease.attempt, Success(b"1"))
    assert [type(fact) for fact in heard] == [Submitted, Ready, Started, Ended]
    leave()
    await backend.submit(SPEC)
    assert len(heard) == 4
